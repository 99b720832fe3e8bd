// pulsebox groups: where every lane of every consumer group stands.

import type { Command } from 'commander';
import { groupStatus } from '@pulsebox/outbox';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { deadLettersRemark, groupColumns, NO_GROUPS, pausesRemark } from '../group-columns.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { declareResize } from './groups-resize.ts';
import { declareRetire } from './groups-retire.ts';
import { declareSeek } from './groups-seek.ts';

const EXAMPLES = `
LAG is how many events are yet to be delivered, OLDEST the age of the first of them. PARKED
are failed events that are tried again, and those that wait behind one of their key; DEAD are
those that wait for you: pulsebox dead list. HOLDER is the worker that reads the lane; LEASE
is how long it may before it has to renew. STATE is paused while the sink is away: the events
wait in the log, the group goes on by itself, and what is wrong stands below the table.

Examples:
  pulsebox groups
  pulsebox groups --json | jq '.[] | select(.lag > 1000) | .group'
  pulsebox groups --json | jq '.[] | select(.paused) | {group, paused}'
  pulsebox groups seek --help
  pulsebox groups retire --help`;

export function declareGroups(program: Command, run: Run): void {
  const groups = program
    .command('groups')
    .summary('show how far each consumer group is; seek or retire one')
    .description(
      'Shows each lane of each consumer group: position, lag, age of the oldest undelivered event, holder.',
    )
    .addHelpText('after', EXAMPLES)
    .action(() => run(showGroups));
  declareSeek(groups, run);
  declareResize(groups, run);
  declareRetire(groups, run);
}

async function showGroups(session: Session): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const groups = await withPool(database, groupStatus);
  const { result, style } = session.terminal;
  result(groups, () =>
    groups.length === 0
      ? NO_GROUPS
      : renderTable(groups, groupColumns(style), style) +
        pausesRemark(groups, style) +
        deadLettersRemark(groups, style),
  );
  return exitCodes.ok;
}
