// pulsebox reindex: builds search indexes anew beside the live ones, and swaps.

import type { Command } from 'commander';
import type { Pool } from 'pg';
import { emit } from '@pulsebox/outbox';
import { REQUESTED_TOPIC } from '@pulsebox/push';
import type { ReindexReport, Search } from '@pulsebox/search';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { operator } from '../operator.ts';
import { count, duration, plural } from '../quantities.ts';
import { createReindexProgress } from '../reindex-progress.ts';
import { engineName, setUpSearch } from '../search-setup.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

const EXAMPLES = `
The application and the workers go on meanwhile: what they write is taken along, and the
search answers from the old index until the new one is complete. Ctrl-C, or a failure,
leaves the old index as it is.

Examples:
  pulsebox reindex items
  pulsebox reindex --all --json
  pulsebox reindex --all --notify anna`;

export function declareReindex(program: Command, run: Run): void {
  program
    .command('reindex')
    .summary('rebuild a search index beside the live one')
    .description(
      'Builds the index of a projection anew from its table, beside the live one, and swaps the two.',
    )
    .argument('[projection]', 'items, files, mail, or one of your own')
    .option('--all', 'all projections, one after the other')
    .option('--notify <user>', 'emit push.requested when it is done: it may take hours')
    .addHelpText('after', EXAMPLES)
    .action((projection: string | undefined, flags: ReindexFlags) =>
      run((session) => rebuild(session, projection, flags)),
    );
}

interface ReindexFlags {
  readonly all?: boolean;
  readonly notify?: string;
}

async function rebuild(
  session: Session,
  projection: string | undefined,
  { all = false, notify }: ReindexFlags,
): Promise<ExitCode> {
  if ((projection === undefined) !== all) {
    throw new CliError(
      'CLI_USAGE_INVALID',
      `expected either the name of a projection or --all, got ${all ? 'both' : 'neither'}`,
      { hint: 'for instance `pulsebox reindex items`' },
    );
  }
  if (notify?.trim() === '') {
    throw new CliError('CLI_USAGE_INVALID', 'expected --notify to name a user, got nothing', {
      hint: 'for instance `--notify anna`, as in app.push_subscriptions',
    });
  }
  const signal = session.interruption();
  const database = await announceDatabase(session);
  return await withPool(
    database,
    async (pool) => {
      const search = await setUpSearch({ env: session.env, database, pool });
      const names = projection === undefined ? search.projections.map(({ name }) => name) : [projection];
      const reports: ReindexReport[] = [];
      try {
        for (const name of names) reports.push(await rebuildOne(search, name, session, signal));
      } catch (error) {
        if (!signal.aborted) throw error;
        session.terminal.remark('interrupted: the live index is as it was');
        return exitCodes.interrupted;
      }
      const done = reports.map((report) => describe(report, search)).join('\n');
      if (notify !== undefined) await tell(pool, notify, reports);
      session.terminal.result(reports, () => done);
      return exitCodes.ok;
    },
    // Dropping a large index takes as long as it takes; Ctrl-C is there.
    { statementTimeoutMs: undefined },
  );
}

async function tell(pool: Pool, user: string, reports: readonly ReindexReport[]): Promise<void> {
  const rows = reports.reduce((sum, report) => sum + report.rows, 0);
  const title = `Search index rebuilt: ${reports.map(({ projection }) => projection).join(', ')}`;
  const payload = { user_id: user, payload: { title, body: plural(rows, 'row'), tag: 'reindex' } };
  await emit(pool, { topic: REQUESTED_TOPIC, key: `user:${user}`, payload }, { autocommit: true });
}

async function rebuildOne(
  search: Search,
  name: string,
  { terminal }: Session,
  signal: AbortSignal,
): Promise<ReindexReport> {
  const progress = createReindexProgress(terminal, name, await documentsNow(search, name, signal));
  try {
    return await search.reindex(name, {
      holder: operator(),
      signal,
      onProgress: progress.show,
    });
  } finally {
    progress.end();
  }
}

/** How many documents the live index has: about as many as there will be. */
async function documentsNow(search: Search, name: string, signal: AbortSignal): Promise<number> {
  const { indexes } = await search.describe(signal);
  return indexes.find((index) => index.projection === name)?.documents ?? 0;
}

function describe(report: ReindexReport, search: Search): string {
  const { projection, rows, events, skippedRows, durationMs, laneHeldMs, oldIndexDropped } = report;
  return [
    `rebuilt ${projection} in ${engineName(search)}: ${plural(rows, 'row')}, and ${plural(events, 'event')} written meanwhile, in ${duration(durationMs / 1_000)}; the worker waited for ${duration(laneHeldMs / 1_000)}`,
    ...(skippedRows === 0
      ? []
      : [`${count(skippedRows)} left out: their ids are empty or too long for a search engine`]),
    ...(oldIndexDropped ? [] : ['the old index could not be removed; the next rebuild does it']),
  ].join('\n');
}
