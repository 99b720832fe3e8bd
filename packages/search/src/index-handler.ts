// The handler of the group `search`: brings the documents of the rows that a batch names up to date.

import { laneLeaseName, SinkError } from '@pulsebox/outbox';
import type { Batch, Handler, HandlerContext } from '@pulsebox/outbox';
import type { Pool } from 'pg';
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
 * An event that names no row is logged, counted and passed over: no retry would mend it.
 */
export function searchHandler(options: SearchHandlerOptions): Handler {
  const { pool, engine, metrics } = options;
  let verified: readonly VerifiedProjection[] | undefined;

  return async (batch: Batch, context: HandlerContext): Promise<void> => {
    verified ??= await verify(pool, options.projections);
    const { idsByProjection, skipped } = touchedRows(batch.events, verified);
    for (const event of skipped) report(event, context, metrics);
    const fence = { name: laneLeaseName(batch), token: context.fencingToken };
    for (const [projection, ids] of idsByProjection) {
      context.signal.throwIfAborted();
      await engine.sync(projection, ids, {
        fence,
        signal: context.signal,
        progress: () => context.progress(),
      });
      context.progress();
    }
  };
}

/** A view that is missing or faulty keeps back every event alike, until somebody mends it. */
async function verify(
  pool: Pool,
  projections: readonly Projection[],
): Promise<readonly VerifiedProjection[]> {
  try {
    return await verifyProjections(pool, projections);
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
