// Faults that a run must catch, or it proves nothing. They are put into the source text as a worker loads it: the
// product has no hook for them. A text that is not found is an error, so that a refactoring cannot disarm them unseen.

import type { BehaviourName } from './behaviours.ts';
import type { CheckName } from './checker.ts';
import type { MishapKind } from './mishaps.ts';

export const mutantNames = [
  'no-range',
  'xid-order',
  'store-first',
  'held-keys-let-through',
  'redrive-unfenced',
  'store-unfenced',
  'barrier-blind',
] as const;

export type MutantName = (typeof mutantNames)[number];

export interface Mutant {
  readonly about: string;
  /** The checks that can fail because of it; one of them must. */
  readonly caughtAs: readonly CheckName[];
  /** What makes the fault show soon: without `mishaps: 'all'`, what differs from a run in which nothing goes wrong. */
  readonly provokedBy: {
    /** What writers do most of the time. */
    readonly behaviour?: BehaviourName;
    readonly writers?: number;
    readonly batchSize?: number;
    /** The share of events that fail. */
    readonly failing?: number;
    readonly mishaps?: 'all' | readonly MishapKind[];
  };
  /** By the end of the module's URL. */
  readonly edits: Readonly<Record<string, readonly Edit[]>>;
}

export interface Edit {
  readonly find: string;
  readonly replace: string;
}

export const mutants: Readonly<Record<MutantName, Mutant>> = {
  'no-range': {
    about: 'late events are sought in the list of open transactions only, not from its xmax on',
    caughtAs: ['lost'],
    // One alone: whatever else is completed in between takes the open transaction below the next xmax.
    provokedBy: { behaviour: 'overtaken above xmax', writers: 1 },
    edits: {
      '/packages/outbox/src/read/late-events.ts': [
        {
          find: `
      where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
        and (e.xid, e.seq) < ($3::xid8, 0::bigint)
        and e.seq <= $1::bigint
`,
          // The parameters must stay: the server could not tell the type of one that is nowhere used.
          replace: `
      where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
        and (e.xid, e.seq) < ($3::xid8, 0::bigint)
        and e.seq <= $1::bigint and false
`,
        },
      ],
    },
  },
  // The events of a batch are the same, and so is the cursor after it: only their order within the batch is another.
  'xid-order': {
    about: 'the events of a batch are delivered in the order of their transactions',
    caughtAs: ['inverted'],
    provokedBy: { behaviour: 'xid early, emit late', writers: 12 },
    edits: {
      '/packages/outbox/src/read/look-at-log.ts': [
        {
          find: `  from late cross join lateral (select * from outbox.event where seq = late.seq limit 1) e
`,
          replace: `  from (
    select e.* from late cross join lateral (select * from outbox.event where seq = late.seq limit 1) e
    order by e.xid, e.seq
  ) e
`,
        },
        {
          find: `  from (
    select seq, topic, key, payload, headers, created_at from outbox.event
    where seq > $1::bigint and (select count(*) from late) <= $4::bigint
    order by seq
    limit $4::bigint
  ) e\``,
          replace: `  from (
    select * from (
      select xid, seq, topic, key, payload, headers, created_at from outbox.event
      where seq > $1::bigint and (select count(*) from late) <= $4::bigint
      order by seq
      limit $4::bigint
    ) taken
    order by xid, seq
  ) e\``,
        },
      ],
      '/packages/outbox/src/read/window.ts': [
        {
          find: `  return events.at(-1)?.position ?? null;`,
          replace: `  return events.length === 0 ? null : Math.max(...events.map((event) => event.position));`,
        },
      ],
    },
  },
  'store-first': {
    about: 'the cursor is stored before the handler has had the batch',
    // A worker that dies leaves out its batch; one that was frozen delivers it after its successor's.
    caughtAs: ['lost', 'inverted'],
    provokedBy: { mishaps: 'all' },
    edits: {
      '/packages/outbox/src/lane/lane-batch.ts': [
        {
          find: `  const outcome = await session.advance(batch, parking);
`,
          replace: '',
        },
        {
          find: `  const delivered = await deliverCarefully({
`,
          replace: `  const outcome = await session.advance(batch, []);
  const delivered = await deliverCarefully({
`,
        },
      ],
    },
  },
  'held-keys-let-through': {
    about: 'later events of a key are delivered while an earlier one is parked',
    caughtAs: ['inverted'],
    provokedBy: { failing: 0.1, behaviour: 'lock, emit, commit' },
    edits: {
      '/packages/outbox/src/parked/park-keys.ts': [
        {
          find: `    key !== null && position >= (firstOf.get(key) ?? Infinity);
`,
          replace: `    key !== null && position >= (firstOf.get(key) ?? Infinity) && false;
`,
        },
      ],
    },
  },
  // What it hangs in is made longer, so that a freeze meets it.
  'redrive-unfenced': {
    about: 'the outcome of a redrive is stored whoever holds the lane by then',
    caughtAs: ['usurped'],
    provokedBy: { failing: 0.03, behaviour: 'lock, emit, commit', mishaps: ['freeze'] },
    edits: {
      '/packages/outbox/src/parked/redrive-settle.ts': [
        {
          find: `    select from pulsebox.lease where name = $2 and token = $3 for share
`,
          replace: `    select from pulsebox.lease where name = $2 and $3::bigint is not null for share
`,
        },
        {
          find: `  const { rows } = await db.query<{ held: number }>(SETTLE_PARKED, [
`,
          replace: `  await new Promise((resolve) => setTimeout(resolve, 600));
  const { rows } = await db.query<{ held: number }>(SETTLE_PARKED, [
`,
        },
      ],
    },
  },
  'store-unfenced': {
    about: 'the cursor is stored whoever holds the lane by then',
    caughtAs: ['usurped'],
    provokedBy: { mishaps: ['freeze'] },
    edits: {
      '/packages/outbox/src/lease/store-cursor.ts': [
        {
          find: `    select from pulsebox.lease where name = $12 and token = $3 for share
`,
          replace: `    select from pulsebox.lease where name = $12 for share
`,
        },
        {
          find: `  const { rowCount } = await db.query(STORE_CURSOR, [
`,
          replace: `  await new Promise((resolve) => setTimeout(resolve, 100));
  const { rowCount } = await db.query(STORE_CURSOR, [
`,
        },
      ],
    },
  },
  'barrier-blind': {
    about: 'old lanes deliver up to the barrier what its snapshot did not see, too',
    // The new lanes find it late to the barrier.
    caughtAs: ['unexplained', 'inverted'],
    provokedBy: {
      behaviour: 'held open',
      writers: 16,
      batchSize: 20,
      mishaps: ['lanes', 'freeze'],
    },
    edits: {
      '/packages/outbox/src/read/read-to-barrier.ts': [
        {
          find: `           or pg_visible_in_snapshot(e.xid, $3::pg_snapshot))
`,
          replace: `           or $3::pg_snapshot is not null)
`,
        },
      ],
    },
  },
};

/** @throws when a text that the mutant replaces is not there exactly once */
export function mutate(source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, { find, replace }) => {
    const [before, after, ...more] = text.split(find);
    if (before === undefined || after === undefined || more.length > 0) {
      throw new Error(
        `expected this text exactly once, so that a mutant can replace it; adapt test/torture/mutants.ts:\n${find}`,
      );
    }
    return before + replace + after;
  }, source);
}
