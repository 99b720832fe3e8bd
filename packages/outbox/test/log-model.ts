// The log, its cursor and its lease as a few sets and numbers: what the real ones must agree with, step by step.

export interface ModelEvent {
  readonly label: string;
  readonly position: number;
}

/** A cursor says which events are settled; while late ones are paged through, which of them are left. */
export interface ModelCursor {
  readonly position: number;
  readonly settled: ReadonlySet<string>;
  /** Late events that were there when paging began. Null: none are paged through. */
  readonly page: readonly ModelEvent[] | null;
}

export interface ModelWriter {
  /** What a commit would publish. */
  written: ModelEvent[];
  /** How much of it there was at each open savepoint. */
  savepoints: number[];
  open: boolean;
}

export interface ModelHolder {
  /** Its fencing token; null: it has never had the lease, or has given it back. */
  token: number | null;
  batch: number;
  cursor: ModelCursor;
  /** Read and not yet stored. */
  pending: { readonly events: readonly ModelEvent[]; readonly next: ModelCursor } | null;
}

export interface LogModel {
  readonly writers: readonly ModelWriter[];
  readonly holders: ModelHolder[];
  readonly committed: ModelEvent[];
  /** Every label that a handler was given, in that order, redeliveries included. */
  readonly delivered: string[];
  readonly lockedBy: Map<string, number>;
  lease: { token: number; heldBy: number | null; expired: boolean };
  stored: ModelCursor;
  emitted: number;
}

export function logModel(writers: number, holders: number, position: number): LogModel {
  const start: ModelCursor = { position, settled: new Set(), page: null };
  return {
    writers: Array.from({ length: writers }, () => ({ written: [], savepoints: [], open: false })),
    holders: Array.from({ length: holders }, () => ({ token: null, batch: 0, cursor: start, pending: null })),
    committed: [],
    delivered: [],
    lockedBy: new Map(),
    lease: { token: 0, heldBy: null, expired: false },
    stored: start,
    emitted: 0,
  };
}

/** What a read after the cursor must give, and the cursor behind it. */
export function expectedBatch(
  model: LogModel,
  cursor: ModelCursor,
  limit: number,
): { readonly events: readonly ModelEvent[]; readonly next: ModelCursor } {
  if (cursor.page !== null && cursor.page.length > 0) {
    const events = cursor.page.slice(0, limit);
    const left = cursor.page.slice(limit);
    // A page that is not full was the last; after a full one it takes another look to know.
    return { events, next: behind(cursor, events, events.length < limit ? null : left) };
  }
  const unsettled = model.committed
    .filter(({ label }) => !cursor.settled.has(label))
    .toSorted((a, b) => a.position - b.position);
  const late = unsettled.filter(({ position }) => position <= cursor.position);
  if (late.length > limit)
    return { events: late.slice(0, limit), next: behind(cursor, late.slice(0, limit), late.slice(limit)) };
  const fresh = unsettled.filter(({ position }) => position > cursor.position).slice(0, limit);
  const events = [...late, ...fresh];
  const position = fresh.at(-1)?.position ?? cursor.position;
  return { events, next: { ...behind(cursor, events, null), position } };
}

function behind(
  { position, settled }: ModelCursor,
  events: readonly ModelEvent[],
  page: readonly ModelEvent[] | null,
): ModelCursor {
  return { position, settled: new Set([...settled, ...events.map(({ label }) => label)]), page };
}
