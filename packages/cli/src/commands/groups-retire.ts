// pulsebox groups retire: forgets a consumer group that nobody reads any more.

import type { Command } from 'commander';
import { groupStatus, retireGroup } from '@pulsebox/outbox';
import { confirmed } from '../confirmation.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { operator } from '../operator.ts';
import { plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

const HELP = `
A retired group is forgotten: what it had not delivered it never will, dead letters included,
and it holds no part of the log any more, so that old partitions can be dropped. Stop its
workers first, and take the group out of their code: a worker that starts with it registers
it anew.

Examples:
  pulsebox groups retire old-mirror
  pulsebox groups retire old-mirror --yes`;

export function declareRetire(groups: Command, run: Run): void {
  groups
    .command('retire')
    .summary('forget a group that nobody reads any more')
    .description('Forgets a consumer group and its place in the log, for good.')
    .argument('<name>', 'the consumer group')
    .option('--yes', 'do not ask')
    .addHelpText('after', HELP)
    .action((name: string, options: { yes?: true }) =>
      run((session) => retire(session, name, options.yes === true)),
    );
}

async function retire(session: Session, group: string, sure: boolean): Promise<ExitCode> {
  const database = await announceDatabase(session);
  return await withPool(database, async (pool) => {
    const lanes = (await groupStatus(pool)).filter((status) => status.group === group);
    const undelivered = lanes.reduce((sum, { lag }) => sum + lag, 0);
    const parked = lanes.reduce((sum, lane) => sum + lane.parked + lane.dead, 0);
    const events =
      plural(undelivered, 'event') + (parked === 0 ? '' : ` and ${plural(parked, 'parked one')}`);
    const question = {
      what: `retiring ${group}`,
      word: group,
      withYes: `${events} would not be delivered to it`,
    };
    if (!sure && lanes.length > 0 && !(await confirmed(question))) {
      session.terminal.remark('nothing was changed');
      return exitCodes.no;
    }
    await retireGroup({ pool, group, holder: operator() });
    session.terminal.result(
      { group, undelivered, parked },
      () => `retired ${group}; ${events} will not be delivered to it`,
    );
    return exitCodes.ok;
  });
}
