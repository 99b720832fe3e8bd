// pulsebox groups: where every lane of every consumer group stands.

import type { Command } from 'commander';
import { groupStatus } from '@pulsebox/outbox';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { groupColumns, NO_GROUPS } from '../group-columns.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';

const EXAMPLES = `
LAG is how many events are yet to be delivered, OLDEST the age of the first of them. HOLDER
is the worker that reads the lane; LEASE is how long it may before it has to renew.

Examples:
  pulsebox groups
  pulsebox groups --json | jq '.[] | select(.lag > 1000) | .group'`;

export function declareGroups(program: Command, run: Run): void {
  program
    .command('groups')
    .summary('show how far each consumer group is')
    .description(
      'Shows each lane of each consumer group: position, lag, age of the oldest undelivered event, holder.',
    )
    .addHelpText('after', EXAMPLES)
    .action(() => run(showGroups));
}

async function showGroups(session: Session): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const groups = await withPool(database, groupStatus);
  const { result, style } = session.terminal;
  result(groups, () => (groups.length === 0 ? NO_GROUPS : renderTable(groups, groupColumns(style), style)));
  return exitCodes.ok;
}
