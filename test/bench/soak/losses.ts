// What is still under way when the load has ended, and what is lost.

import { eventually } from '@pulsebox/test-support';
import type { StandInIndex } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import type { LogWitness } from './log-witness.ts';
import type { Fault } from './report.ts';
import type { Run } from './run.ts';

/** What is missing after it is lost, on the busiest machine. */
const PATIENCE_MS = 180_000;

/** Result: those of $1 that are in the log. */
const IN_LOG = 'select seq::float8 as seq from outbox.event where seq = any($1::bigint[])';

/** Result: a row when an import has not come to its end. The last one may have been asked for a moment ago. */
const IMPORT_UNDER_WAY = `select from app.import_jobs where state not in ('completed', 'failed', 'cancelled') limit 1`;

export async function lookForMissing(pool: Pool, log: LogWitness): Promise<void> {
  const { missing } = log;
  if (missing.length === 0) return;
  const { rows } = await pool.query<{ seq: number }>(IN_LOG, [missing]);
  log.areInLog(rows.map(({ seq }) => seq));
}

/** Resolves when all has arrived, or after a while. */
export async function caughtUp(
  { witnesses, site }: Pick<Run, 'witnesses' | 'site'>,
  live: ReadonlyMap<string, number>,
): Promise<void> {
  const { items, pushes, mailsShown, mailsIndexed, log } = witnesses;
  await eventually(
    async () => {
      const under = [items, pushes, mailsShown, mailsIndexed].reduce((sum, one) => sum + one.underWay, 0);
      if (under > 0) return false;
      const { rows } = await site.database.pool.query(IMPORT_UNDER_WAY);
      if (rows.length > 0) return false;
      await lookForMissing(site.database.pool, log);
      return log.lost === 0 && differences(site.meilisearch.indexes.get('items'), live) === 0;
    },
    { withinMs: PATIENCE_MS, everyMs: 200 },
    // What is still missing then is counted as lost.
  ).catch(() => undefined);
}

export async function whatIsLost(
  { witnesses, site }: Pick<Run, 'witnesses' | 'site'>,
  live: ReadonlyMap<string, number>,
): Promise<readonly Fault[]> {
  const { items, pushes, mailsShown, mailsIndexed, log } = witnesses;
  const { rows } = await site.database.pool.query<{ n: number }>(
    `select count(*)::int as n from app.import_jobs where state <> 'completed' or failed > 0`,
  );
  return [
    { what: 'changes of items that did not reach the index', count: items.underWay },
    {
      what: 'items that the index has otherwise than the database',
      count: differences(site.meilisearch.indexes.get('items'), live),
    },
    { what: 'pushes that did not come', count: pushes.underWay + mailsShown.underWay },
    { what: 'mails that did not reach the index', count: mailsIndexed.underWay },
    { what: 'events in the log that were not published', count: log.lost },
    { what: 'imports that did not end well', count: rows[0]?.n ?? 0 },
  ];
}

/** Items of imports carry no version, and are not compared. */
function differences(index: StandInIndex | undefined, live: ReadonlyMap<string, number>): number {
  const indexed = new Map(
    [...(index?.documents ?? [])].flatMap(([id, document]) => {
      const { version } = (document['data'] ?? {}) as { version?: number };
      return version === undefined ? [] : [[id, version] as const];
    }),
  );
  const wrong = [...live].filter(([id, version]) => indexed.get(id) !== version).length;
  return wrong + [...indexed.keys()].filter((id) => !live.has(id)).length;
}
