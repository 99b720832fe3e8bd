// The handler of the group `search`: brings the documents of the rows that a batch names up to date.

import { laneLeaseName, SinkError } from '@pulsebox/outbox';
import type { Batch, EventFailure, Handler, HandlerContext } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { boundedStatements, databaseSlow, tookTooLong } from './bounded-statements.ts';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { SearchEngine } from './search-engine.ts';
import { SearchError } from './search-error.ts';
import type { SearchMetrics } from './search-metrics.ts';
import { touchedRows } from './touched-rows.ts';
import type { SkippedEvent } from './touched-rows.ts';
import { verifyProjections } from './view.ts';

export interface SearchHandlerOptions {
  readonly pool: Pool;
  readonly engine: SearchEngine;
  readonly projections: readonly Projection[];
  readonly metrics?: SearchMetrics | undefined;
}

/**
 * An event says which row has changed, not what it looks like: rows are read when they are sent. So events of one row
 * become one entry, and an event that is delivered twice or out of order writes nothing old.
 *
 * Throws whatever keeps a batch from the sink. A SinkError tells whose fault it is: the group pauses, or the documents
 * that are refused are found.
 * An event whose row the database takes too long for, alone, while it manages others, is reported as failed, and so is one
 * whose document is larger than any sink takes.
 * An event that names no row is logged, counted and passed over: no retry would mend it.
 */
export function searchHandler(options: SearchHandlerOptions): Handler {
  const { pool, engine, metrics } = options;
  let verified: readonly VerifiedProjection[] | undefined;

  async function deliver(batch: Batch, context: HandlerContext): Promise<EventFailure[]> {
    const { signal } = context;
    const progress = (): void => context.progress();
    verified ??= await verify(boundedStatements(pool, { signal, progress }), options.projections);
    const { idsByProjection, skipped } = touchedRows(batch.events, verified);
    for (const event of skipped) report(event, context, metrics);
    const fence = { name: laneLeaseName(batch), token: context.fencingToken };
    const failed: EventFailure[] = [];
    for (const [projection, ids] of idsByProjection) {
      signal.throwIfAborted();
      const { tooSlow } = await engine.sync(projection, ids, { fence, signal, progress });
      for (const id of tooSlow) failed.push(...failuresOf(batch, projection, id));
      progress();
    }
    return failed;
  }

  return async (batch, context) => {
    try {
      return { failed: await deliver(batch, context) };
    } catch (error) {
      // Parts were made as small as they can be: what is left is no fault of an event.
      throw tookTooLong(error) ? databaseSlow(error) : error;
    }
  };
}

/** Whatever names the row: any of its events would have brought its document up to date. */
function failuresOf({ events }: Batch, projection: VerifiedProjection, id: string): EventFailure[] {
  const reason = `the database took too long for the document ${id} of ${projection.name}, or it is larger than 100 MB as text: look at ${projection.view}`;
  return events
    .filter((event) => touchedRows([event], [projection]).idsByProjection.get(projection)?.includes(id))
    .map(({ position }) => ({ position, reason, retryable: true }));
}

/** A view that is missing or faulty keeps back every event alike, until somebody mends it. */
async function verify(
  db: Queryable,
  projections: readonly Projection[],
): Promise<readonly VerifiedProjection[]> {
  try {
    return await verifyProjections(db, projections);
  } catch (error) {
    if (!(error instanceof SearchError)) throw error;
    throw new SinkError('away', error.code, error.message, { hint: error.hint, cause: error });
  }
}

function report(event: SkippedEvent, { log }: HandlerContext, metrics: SearchMetrics | undefined): void {
  const { position, topic, projection, reason } = event;
  log.warn(
    { position, topic, projection, reason },
    'skipped an event: its payload names no row of the projection',
  );
  metrics?.skipped.inc({ reason });
}
