// pulsebox runtimes list: whose runtimes there are, and how they are.

import { Option } from 'commander';
import type { Command } from 'commander';
import { listRuntimes, runtimeStates } from '@pulsebox/runtimes';
import type { RuntimeState, RuntimeSummary } from '@pulsebox/runtimes';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { duration } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Column } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';

const HELP = `
SINCE is how long it has been in its state, USED how long ago it was last used. Those that are
stopped are left out, unless --state stopped asks for them.

Examples:
  pulsebox runtimes list
  pulsebox runtimes list --state error
  pulsebox runtimes list --json | jq -r '.[] | select(.state == "running") | .url'`;

export function declareRuntimesList(runtimes: Command, run: Run): void {
  runtimes
    .command('list')
    .summary('list them, with state and reason')
    .description('Lists agent runtimes that are not stopped, with their state and why they are in it.')
    .addOption(new Option('--state <state>', 'only those in this state').choices(runtimeStates))
    .addHelpText('after', HELP)
    .action((flags: { readonly state?: RuntimeState }) => run((session) => list(session, flags.state)));
}

async function list(session: Session, state: RuntimeState | undefined): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const found = await withPool(database, (pool) => listRuntimes(pool, state));
  const { result, style } = session.terminal;
  result(found, () =>
    found.length === 0
      ? `no runtimes${state === undefined ? '' : ` in the state ${state}`}`
      : renderTable(found, columns(style, Date.now()), style),
  );
  return exitCodes.ok;
}

function columns(style: Terminal['style'], now: number): readonly Column<RuntimeSummary>[] {
  const ago = (date: Date): string => duration(Math.max(0, now - date.getTime()) / 1_000);
  return [
    { title: 'USER', value: ({ user }) => printable(user) },
    { title: 'ORG', value: ({ organisation }) => printable(organisation) },
    { title: 'STATE', value: ({ state }) => coloured(state, style) },
    { title: 'SINCE', align: 'right', value: ({ stateSince }) => ago(stateSince) },
    { title: 'USED', align: 'right', value: ({ lastActiveAt }) => ago(lastActiveAt) },
    { title: 'POD', value: ({ name }) => name },
    { title: 'REASON', value: ({ reason }) => printable(reason) },
  ];
}

export function coloured(state: RuntimeState, style: Terminal['style']): string {
  if (state === 'running') return style('green', state);
  if (state === 'error') return style('red', state);
  return state === 'stopped' ? style('dim', state) : style('yellow', state);
}
