// The handler of the group `search`: brings the documents of the rows that a batch names up to date.

import { laneLeaseName } from '@pulsebox/outbox';
import type { Batch, Handler, HandlerContext } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { SearchEngine } from './search-engine.ts';
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
 * Throws whatever keeps a batch from the sink (a SinkError tells whose fault it is), and the batch is delivered again.
 * An event that names no row is logged, counted and passed over: no retry would mend it.
 */
export function searchHandler(options: SearchHandlerOptions): Handler {
  const { pool, engine, metrics } = options;
  let verified: readonly VerifiedProjection[] | undefined;

  return async (batch: Batch, context: HandlerContext): Promise<void> => {
    verified ??= await verifyProjections(pool, options.projections);
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

function report(event: SkippedEvent, { log }: HandlerContext, metrics: SearchMetrics | undefined): void {
  const { position, topic, projection, reason } = event;
  log.warn(
    { position, topic, projection, reason },
    'skipped an event: its payload names no row of the projection',
  );
  metrics?.skipped.inc({ reason });
}
