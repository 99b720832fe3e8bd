// pulsebox dead replay: tries dead letters again.

import type { Command } from 'commander';
import { replayDead } from '@pulsebox/outbox';
import type { ReplayReport } from '@pulsebox/outbox';
import { withPool } from '../database.ts';
import { deliberateFilter, withFilterFlags } from '../dead-filter-flags.ts';
import type { FilterFlags } from '../dead-filter-flags.ts';
import { missingRemark, perGroup } from '../dead-report.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { count, plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

interface ReplayFlags extends FilterFlags {
  readonly all?: true;
  readonly dryRun?: true;
}

const HELP = `
A replayed event has all its attempts again, and keeps its errors. Events of one key are
tried in their order, each when the one before it is done with. Repeating a replay harms
nothing. Mend what made them fail first: the same again fails again.

Examples:
  pulsebox dead replay search/1042 search/1043
  pulsebox dead replay --group search --newer-than 2h --dry-run
  pulsebox dead replay --key item:42
  pulsebox dead replay --all`;

export function declareReplay(dead: Command, run: Run): void {
  withFilterFlags(
    dead
      .command('replay')
      .summary('try dead letters again')
      .description('Tries dead letters again: those named, or all that match every filter given.')
      .argument('[ids...]', 'group and position, such as search/1042'),
  )
    .option('--all', 'all dead letters of all groups')
    .option('--dry-run', 'count them, and change nothing')
    .addHelpText('after', HELP)
    .action((ids: readonly string[], flags: ReplayFlags) => run((session) => replay(session, ids, flags)));
}

async function replay(session: Session, ids: readonly string[], flags: ReplayFlags): Promise<ExitCode> {
  const filter = deliberateFilter('replay', flags, ids);
  const dryRun = flags.dryRun === true;
  const database = await announceDatabase(session);
  const report = await withPool(database, (pool) => replayDead(pool, { filter, dryRun }));
  session.terminal.result(report, () => describe(report));
  return report.missing.length === 0 ? exitCodes.ok : exitCodes.no;
}

function describe(report: ReplayReport): string {
  const { dryRun, replayed, underWay } = report;
  const groups = perGroup(report.groups.map(({ group, replayed: n }) => [group, n]));
  const done =
    replayed === 0
      ? 'no dead letter matches'
      : `${dryRun ? 'would replay' : 'replayed'} ${plural(replayed, 'dead letter')}${groups}`;
  const others =
    underWay === 0 ? '' : `; ${count(underWay)} more ${underWay === 1 ? 'is' : 'are'} parked and under way`;
  return done + others + missingRemark(report.missing);
}
