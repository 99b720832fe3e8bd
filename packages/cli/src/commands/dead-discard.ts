// pulsebox dead discard: gives events up.

import type { Command } from 'commander';
import { discardDead } from '@pulsebox/outbox';
import type { DiscardReport, ParkedState } from '@pulsebox/outbox';
import { confirmed } from '../confirmation.ts';
import { withPool } from '../database.ts';
import { deliberateFilter, stateFlag, withFilterFlags } from '../dead-filter-flags.ts';
import type { FilterFlags } from '../dead-filter-flags.ts';
import { missingRemark, perGroup } from '../dead-report.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { count, plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

interface DiscardFlags extends FilterFlags {
  readonly state: ParkedState;
  readonly all?: true;
  readonly dryRun?: true;
  readonly yes?: true;
}

const HELP = `
A discarded event is never delivered to its group, and events of its key that waited behind
it go on. It cannot be undone. More than what is named by id is asked about first, or wants
--yes where nobody is there to ask. What a handler has in hand at this moment is kept.

Examples:
  pulsebox dead discard search/1042
  pulsebox dead discard --group push --older-than 7d --dry-run
  pulsebox dead discard --group push --older-than 7d --yes
  pulsebox dead discard search/1042 --state parked     one that would be tried again`;

export function declareDiscard(dead: Command, run: Run): void {
  withFilterFlags(
    dead
      .command('discard')
      .summary('give dead letters up, and let go what waits behind them')
      .description('Gives dead letters up for good: those named, or all that match every filter given.')
      .argument('[ids...]', 'group and position, such as search/1042'),
  )
    .addOption(stateFlag('dead letters, or what is parked and would be tried again'))
    .option('--all', 'all of all groups')
    .option('--dry-run', 'count them, and change nothing')
    .option('--yes', 'do not ask')
    .addHelpText('after', HELP)
    .action((ids: readonly string[], flags: DiscardFlags) => run((session) => discard(session, ids, flags)));
}

async function discard(session: Session, ids: readonly string[], flags: DiscardFlags): Promise<ExitCode> {
  const filter = deliberateFilter('discard', flags, ids);
  const { state } = flags;
  const { terminal } = session;
  const sure = flags.yes === true || flags.dryRun === true || filter.ids !== undefined;
  const database = await announceDatabase(session);
  return await withPool(database, async (pool) => {
    const expected = sure ? undefined : await discardDead(pool, { filter, state, dryRun: true });
    if (expected !== undefined && expected.discarded > 0) {
      const what = `${named(expected.discarded, state)}${groupsOf(expected)}`;
      const withYes = `${what} would never be delivered`;
      if (!(await confirmed({ what: `discarding ${what}`, word: 'discard', withYes }))) {
        terminal.remark('nothing was changed');
        return exitCodes.no;
      }
    }
    const report = await discardDead(pool, { filter, state, dryRun: flags.dryRun === true });
    terminal.result(report, () => describe(report, state, filter.ids !== undefined));
    const all = report.underWay === 0 && report.missing.length === 0;
    return all || report.dryRun ? exitCodes.ok : exitCodes.no;
  });
}

function describe(report: DiscardReport, state: ParkedState, byId: boolean): string {
  const { dryRun, discarded, underWay, otherState } = report;
  const other: ParkedState = state === 'dead' ? 'parked' : 'dead';
  return (
    [
      discarded === 0
        ? `no ${state === 'dead' ? 'dead letter' : 'parked event'} matches`
        : `${dryRun ? 'would discard' : 'discarded'} ${named(discarded, state)}${groupsOf(report)}`,
      ...(underWay === 0
        ? []
        : [`kept ${count(underWay)} that a handler has in hand at this moment: try again`]),
      ...(byId && otherState > 0
        ? [`kept ${count(otherState)} whose state is ${other}: add --state ${other} to discard those`]
        : []),
    ].join('\n') + missingRemark(report.missing)
  );
}

function groupsOf({ groups }: DiscardReport): string {
  return perGroup(groups.map(({ group, discarded }) => [group, discarded]));
}

function named(n: number, state: ParkedState): string {
  return plural(n, state === 'dead' ? 'dead letter' : 'parked event');
}
