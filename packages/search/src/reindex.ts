// Builds an index anew beside the live one and swaps the two, while the application goes on writing.
//
// 1. Note where the log ends. 2. Fill the new index from the view, page by page. 3. Read the log from the noted end
// and bring every row it names up to date in the new index, until it is near the end. 4. Take the lanes of the group that
// writes to the live index, catch up with it, swap, give the lanes back.
//
// Nothing is lost: what was committed before (1) is in the view at (2); what was committed after it is in the log
// behind the noted end and gets its turn in (3) or (4). While its lanes are held nobody writes to the live index, and
// what the new one has by then is everything that the group has delivered; from there the group goes on as before.

import { endOfLog, OutboxError, readBatch, takeLane, withAllLanes } from '@pulsebox/outbox';
import type { Cursor, OutboxErrorCode, ReadBatch } from '@pulsebox/outbox';
import { acquireLease, holdLease } from '@pulsebox/postgres';
import type { HeldLease } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { isStorable } from './document-id.ts';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { Rebuild, SearchEngine, WriteContext } from './search-engine.ts';
import { SearchError } from './search-error.ts';
import { touchedRows } from './touched-rows.ts';
import { readIds, verifyProjections } from './view.ts';

export interface ReindexOptions {
  readonly pool: Pool;
  readonly engine: SearchEngine;
  readonly projection: Projection;
  /** Who holds the leases, for people: `host/pid/random`. */
  readonly holder: string;
  /** The group that keeps the live index up to date. Default `search`. */
  readonly group?: string | undefined;
  /** Rows at a time. Default 500. */
  readonly batchSize?: number | undefined;
  /** How long to wait for a worker to hand its lane over, in milliseconds. Default 120,000. */
  readonly handoverTimeoutMs?: number | undefined;
  readonly onProgress?: ((progress: ReindexProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type ReindexStep =
  | 'filling'
  | 'catching up'
  | 'waiting for the lane'
  | 'swapping'
  | 'dropping'
  | 'done';

export interface ReindexProgress {
  readonly projection: string;
  readonly step: ReindexStep;
  /** Rows read from the view so far. */
  readonly rows: number;
  /** Events read from the log so far. */
  readonly events: number;
}

export interface ReindexReport {
  readonly projection: string;
  /** Rows taken from the view. */
  readonly rows: number;
  /** Events that were written meanwhile and taken along. */
  readonly events: number;
  /** Rows left out because no sink can store their id: it is empty, or longer than 380 bytes. */
  readonly skippedRows: number;
  /** False: the swap is done, but the old index could not be removed. The next rebuild does it. */
  readonly oldIndexDropped: boolean;
  /** How long the worker was kept from the live index, in milliseconds. */
  readonly laneHeldMs: number;
  readonly durationMs: number;
}

/** How the leases of rebuilds begin: the log keeps what one of them may still read (`pinnedBy`). */
export const REINDEX_LEASES = 'search/reindex/';
const LEASE_TTL_MS = 15_000;

/**
 * Rebuilds the index of one projection. A failure before the swap leaves the live index as it was.
 *
 * @throws SEARCH_REINDEX_RUNNING another rebuild of this projection is at work
 * @throws SEARCH_REINDEX_LANE_BUSY no worker handed the lane over in time
 * @throws SEARCH_PROJECTION_INVALID, SinkError, or the signal's reason
 */
export async function reindex(options: ReindexOptions): Promise<ReindexReport> {
  const { pool, projection } = options;
  const [verified] = await verifyProjections(pool, [projection]);
  if (verified === undefined) throw new Error(`projection ${projection.name} was not verified`);
  const own = await takeOwnLease(options);
  try {
    return await rebuildAndSwap(options, verified, own);
  } finally {
    await own.release();
  }
}

async function rebuildAndSwap(
  options: ReindexOptions,
  projection: VerifiedProjection,
  own: HeldLease,
): Promise<ReindexReport> {
  const { pool, engine } = options;
  const startedAtMs = performance.now();
  const batchSize = options.batchSize ?? 500;
  const signal = options.signal === undefined ? own.signal : AbortSignal.any([options.signal, own.signal]);
  const context: WriteContext = { fence: own, signal, progress: () => undefined };
  const counts = { rows: 0, events: 0, skippedRows: 0 };

  function report(step: ReindexStep): void {
    options.onProgress?.({ projection: projection.name, step, rows: counts.rows, events: counts.events });
  }

  async function fill(rebuild: Rebuild): Promise<void> {
    let after: string | undefined;
    for (;;) {
      signal.throwIfAborted();
      const ids = await readIds(pool, projection, { after, limit: batchSize });
      const storable = ids.filter(isStorable);
      if (storable.length > 0) await syncAll(rebuild, projection, storable, context);
      counts.rows += storable.length;
      counts.skippedRows += ids.length - storable.length;
      report('filling');
      after = ids.at(-1);
      if (ids.length < batchSize) return;
    }
  }

  /** Reads the log until it is caught up, or until `enough` of a batch that was taken along. */
  async function catchUp(
    rebuild: Rebuild,
    from: Cursor,
    within: WriteContext,
    enough: (batch: ReadBatch) => boolean,
  ): Promise<Cursor> {
    for (let cursor = from; ; ) {
      within.signal.throwIfAborted();
      const batch = await readBatch(pool, cursor, batchSize);
      if (batch.events.length === 0) return cursor;
      const { idsByProjection } = touchedRows(batch.events, [projection]);
      for (const ids of idsByProjection.values()) await syncAll(rebuild, projection, ids, within);
      counts.events += batch.events.length;
      report('catching up');
      cursor = batch.next;
      if (enough(batch)) return cursor;
    }
  }

  const noted = await endOfLog(pool);
  const rebuild = await engine.beginRebuild(projection, context);
  let laneHeldMs = 0;
  try {
    await fill(rebuild);
    // A batch that is not full is near enough: the application goes on writing, an empty one may never come.
    const nearEnd = await catchUp(rebuild, noted, context, ({ events }) => events.length < batchSize);
    report('waiting for the lane');
    await withLanes(options, signal, async (leases, fence) => {
      const heldSinceMs = performance.now();
      const inLanes = {
        ...context,
        signal: AbortSignal.any([signal, ...leases.map((lease) => lease.signal)]),
      };
      inLanes.signal.throwIfAborted();
      try {
        // The group delivers nothing while its lanes are ours: what it has delivered was visible before this, and is
        // taken along once a batch that is read after this reaches as far.
        const { position } = await endOfLog(pool);
        await catchUp(
          rebuild,
          nearEnd,
          inLanes,
          ({ next }) => next.frozen === null && next.position >= position,
        );
        report('swapping');
        await rebuild.swap({ ...inLanes, fence });
      } finally {
        laneHeldMs = performance.now() - heldSinceMs;
      }
    });
  } catch (error) {
    // What is left of it is searched by nobody, and removed by the next rebuild if not now.
    await rebuild
      .drop({ signal: AbortSignal.timeout(LEASE_TTL_MS), progress: () => undefined })
      .catch(() => undefined);
    throw error;
  }
  report('dropping');
  const oldIndexDropped = await rebuild.drop(context).then(
    () => true,
    () => false,
  );
  report('done');
  const durationMs = performance.now() - startedAtMs;
  return { projection: projection.name, ...counts, oldIndexDropped, laneHeldMs, durationMs };
}

/** A new index has to have every row: one that cannot be written ends the rebuild. */
async function syncAll(
  rebuild: Rebuild,
  { name, view }: Projection,
  ids: readonly string[],
  context: WriteContext,
): Promise<void> {
  const { tooSlow } = await rebuild.sync(ids, context);
  const [first] = tooSlow;
  if (first === undefined) return;
  throw new SearchError(
    'SEARCH_DOCUMENT_SLOW',
    `the database took too long for the document ${first} of ${name}, or it is larger than 100 MB as text`,
    {
      hint: `find out why ${view} is slow for this row: explain (analyze) select * from ${view} where id = '${first}'; the live index is as it was`,
    },
  );
}

async function takeOwnLease({ pool, projection, holder }: ReindexOptions): Promise<HeldLease> {
  const request = { name: REINDEX_LEASES + projection.index, holder, ttlMs: LEASE_TTL_MS };
  const requestedAtMs = performance.now();
  const attempt = await acquireLease(pool, request);
  if (attempt.acquired) return holdLease(pool, { ...request, token: attempt.token, requestedAtMs });
  throw new SearchError(
    'SEARCH_REINDEX_RUNNING',
    `${attempt.heldBy} is rebuilding the index of ${projection.name}`,
    {
      hint: `wait for it; if it was killed, its lease ends by itself in ${Math.ceil(attempt.expiresInMs / 1_000)} s`,
    },
  );
}

/**
 * Runs `work` while nobody reads the group: while all its lanes are held, of which the first is the fence.
 *
 * @throws SEARCH_REINDEX_LANE_BUSY, or the signal's reason
 */
async function withLanes(
  options: ReindexOptions,
  signal: AbortSignal,
  work: (leases: readonly HeldLease[], fence: HeldLease) => Promise<void>,
): Promise<void> {
  const { pool, holder, group = 'search', handoverTimeoutMs: timeoutMs = 120_000 } = options;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  async function begin(leases: readonly HeldLease[]): Promise<void> {
    signal.throwIfAborted();
    // From here on the signal is the work's own business: it ends before the lanes are given back.
    signal.removeEventListener('abort', onAbort);
    const [fence] = leases;
    if (fence === undefined) throw new Error(`group ${group} has no lanes`);
    await work(leases, fence);
  }
  async function beginUnread(): Promise<void> {
    // No worker has ever read the group: its first lane keeps one that starts just now from the live index.
    const fence = await takeLane({ pool, holder, lane: { group, lane: 0 }, timeoutMs });
    try {
      await begin([fence]);
    } finally {
      await fence.release();
    }
  }
  signal.addEventListener('abort', onAbort);
  try {
    const working = withAllLanes({ pool, holder, group, timeoutMs }, begin).catch(async (error: unknown) => {
      if (!isOutboxError(error, 'OUTBOX_GROUP_UNKNOWN')) throw error;
      await beginUnread();
    });
    // Aborted while it waits for lanes, it is not waited for: those it still gets are given back at once.
    await Promise.race([working, aborted.promise]);
  } catch (error) {
    if (!isOutboxError(error, 'OUTBOX_LANE_BUSY')) throw error;
    throw new SearchError('SEARCH_REINDEX_LANE_BUSY', `${error.message}, and did not hand it over in time`, {
      hint: 'the live index is as it was; try again when the worker is not in the middle of a long batch',
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function isOutboxError(error: unknown, code: OutboxErrorCode): error is OutboxError {
  return error instanceof OutboxError && error.code === code;
}
