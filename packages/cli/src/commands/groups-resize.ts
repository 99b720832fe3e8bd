// pulsebox groups resize: changes the number of lanes in which workers share a consumer group.

import type { Command } from 'commander';
import { MOST_LANES, resizeGroup } from '@pulsebox/outbox';
import type { ResizeReport } from '@pulsebox/outbox';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { operator } from '../operator.ts';
import { plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

interface ResizeFlags {
  readonly wait: boolean;
}

const HELP = `
Events of one key are in one lane, so as many workers can share the group as it has lanes.
Nothing has to be stopped: the old lanes deliver up to a barrier, those that have arrived
wait for the others, then the new lanes start from it. Nothing is lost, and every key
keeps its order. A lane whose sink is away holds the change up; while it is under way,
another number takes the place of the one wished for, and the number that the group
has calls it off.

Examples:
  pulsebox groups resize search 4
  pulsebox groups resize search 4 --no-wait`;

export function declareResize(groups: Command, run: Run): void {
  groups
    .command('resize')
    .summary('change the number of lanes of a group')
    .description('Changes the number of lanes in which workers share a consumer group.')
    .argument('<name>', 'the consumer group, for instance search')
    .argument('<lanes>', `how many lanes it shall have, from 1 to ${MOST_LANES}`)
    .option('--no-wait', 'return as soon as the change has begun; workers carry it out')
    .addHelpText('after', HELP)
    .action((name: string, lanes: string, flags: ResizeFlags) =>
      run((session) => resize(session, name, lanesOf(lanes), flags)),
    );
}

async function resize(
  session: Session,
  group: string,
  lanes: number,
  { wait }: ResizeFlags,
): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const report = await withPool(database, (pool) =>
    resizeGroup({
      pool,
      group,
      lanes,
      holder: operator(),
      ...(wait ? {} : { signal: AbortSignal.abort() }),
      onProgress: ({ lanes: from, arrived }) =>
        session.terminal.remark(`${arrived} of ${plural(from, 'lane')} at the barrier`),
    }),
  );
  session.terminal.result(report, () => sentence(report));
  return exitCodes.ok;
}

function sentence({ group, from, lanes, outcome }: ResizeReport): string {
  const count = plural(lanes, 'lane');
  const sentences: Readonly<Record<ResizeReport['outcome'], string>> = {
    changed: `${group} has ${count} now; it had ${from}`,
    unchanged: `${group} has ${count} already`,
    withdrawn: `${group} keeps its ${count}: the change that was under way is called off`,
    pending: `${group} will have ${count} as soon as its workers have delivered what came before`,
  };
  return sentences[outcome];
}

function lanesOf(text: string): number {
  const lanes = Number(text);
  if (/^\d{1,4}$/.test(text) && lanes >= 1 && lanes <= MOST_LANES) return lanes;
  throw new CliError(
    'CLI_USAGE_INVALID',
    `expected a number of lanes from 1 to ${MOST_LANES}, got "${text}"`,
    {
      hint: 'for instance `pulsebox groups resize search 4`',
    },
  );
}
