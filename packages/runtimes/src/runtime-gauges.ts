// Gauges of all runtimes, set by the one process that keeps them, so that a sum over processes counts each once.

import type { Queryable } from '@pulsebox/postgres';
import { runtimeStates } from './runtime-row.ts';
import type { RuntimesMetrics } from './runtimes-metrics.ts';

/** A row for each state that there is. Reads the table. */
const COUNT_RUNTIMES = `
  select state, count(*)::integer as count,
         (count(*) filter (where state = 'starting' and placed_at is null))::integer as waiting
  from app.agent_runtimes group by state`;

export async function setGauges(db: Queryable, metrics: RuntimesMetrics): Promise<void> {
  const { rows } = await db.query<{ state: string; count: number; waiting: number }>(COUNT_RUNTIMES);
  for (const state of runtimeStates)
    metrics.runtimes.set({ state }, rows.find((row) => row.state === state)?.count ?? 0);
  metrics.waiting.set(rows.reduce((sum, { waiting }) => sum + waiting, 0));
  metrics.lastRound.setToCurrentTime();
}

export function clearGauges(metrics: RuntimesMetrics): void {
  for (const state of runtimeStates) metrics.runtimes.remove({ state });
  metrics.waiting.remove();
  metrics.lastRound.remove();
}
