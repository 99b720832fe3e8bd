// pulsebox import status: which imports there are, and how one of them is.

import type { Command } from 'commander';
import { importFaults, listImports, readImport } from '@pulsebox/imports';
import type { ImportStatus } from '@pulsebox/imports';
import type { Pool } from 'pg';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { describeImport, endOfImport, followImport } from '../import-progress.ts';
import { count, duration } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Column } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';
import { wholeNumber } from '../whole-number.ts';

interface StatusFlags {
  readonly follow?: true;
  readonly limit: number;
}

const HELP = `
Of one import the first hundred rows that could not be imported are shown as well, with their
lines and reasons. The exit code is 1 when the import that is shown has failed.

Examples:
  pulsebox import status
  pulsebox import status 0198c7f2-… --follow
  pulsebox import status 0198c7f2-… --json | jq '.faults[].reason'`;

export function declareImportStatus(parent: Command, run: Run): void {
  parent
    .command('status')
    .summary('list imports, or show one')
    .description('Lists imports, those under way first, or shows how one of them is.')
    .argument('[id]', 'of one import')
    .option('--follow', 'watch it until it ends')
    .option('--limit <number>', 'how many are listed', wholeNumber(1, 1_000), 20)
    .addHelpText('after', HELP)
    .action((jobId: string | undefined, flags: StatusFlags) =>
      run((session) => (jobId === undefined ? list(session, flags) : show(session, jobId, flags))),
    );
}

async function list(session: Session, { limit, follow }: StatusFlags): Promise<ExitCode> {
  if (follow === true) {
    throw new CliError('CLI_USAGE_INVALID', 'expected --follow to come with the id of an import', {
      hint: 'for instance `pulsebox import status 0198c7f2-… --follow`',
    });
  }
  const database = await announceDatabase(session);
  const imports = await withPool(database, (pool) => listImports(pool, { limit }));
  const { result, style } = session.terminal;
  result(imports, () =>
    imports.length === 0
      ? 'no imports yet: `pulsebox import FILE --org ORGANISATION` makes one'
      : renderTable(imports, columns(style), style),
  );
  return exitCodes.ok;
}

async function show(session: Session, jobId: string, { follow }: StatusFlags): Promise<ExitCode> {
  const signal = follow === true ? session.interruption() : undefined;
  const { terminal } = session;
  const database = await announceDatabase(session);
  return await withPool(database, async (pool) => {
    if (signal !== undefined) {
      const status = await followImport({
        pool,
        jobId: (await existing(pool, jobId)).jobId,
        terminal,
        signal,
      });
      if (status === 'interrupted') return exitCodes.interrupted;
      return await endOfImport(terminal, pool, status);
    }
    const status = await existing(pool, jobId);
    const faults = await importFaults(pool, jobId);
    terminal.result({ ...status, faults }, () => describeImport(terminal, status, faults));
    return status.state === 'failed' ? exitCodes.no : exitCodes.ok;
  });
}

async function existing(pool: Pool, jobId: string): Promise<ImportStatus> {
  const status = await readImport(pool, jobId);
  if (status !== undefined) return status;
  throw new CliError('CLI_USAGE_INVALID', `expected the id of an import, got "${jobId}"`, {
    hint: '`pulsebox import status` lists them',
  });
}

const GOOD: ReadonlySet<string> = new Set(['completed', 'running']);

function columns(style: Terminal['style']): readonly Column<ImportStatus>[] {
  return [
    { title: 'ID', value: ({ jobId }) => jobId },
    { title: 'ORG', value: ({ orgId }) => printable(orgId) },
    {
      title: 'STATE',
      value: ({ state, wanted }) =>
        style(
          state === 'failed' ? 'red' : GOOD.has(state) ? 'green' : 'yellow',
          wanted === null ? state : `${state}, ${wanted} asked`,
        ),
    },
    { title: 'ROWS', align: 'right', value: ({ counts }) => count(counts.processed) },
    {
      title: 'FAILED',
      align: 'right',
      value: ({ counts }) => (counts.failed === 0 ? '-' : style('red', count(counts.failed))),
    },
    {
      title: 'LEFT',
      align: 'right',
      value: ({ state, secondsLeft }) =>
        state === 'running' && secondsLeft !== null ? duration(secondsLeft) : '-',
    },
    { title: 'FILE', value: ({ filePath }) => printable(filePath) },
  ];
}
