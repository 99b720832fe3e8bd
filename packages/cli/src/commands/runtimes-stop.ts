// pulsebox runtimes stop: asks for a user's runtime to be stopped, as the application would.

import type { Command } from 'commander';
import { requestStop } from '@pulsebox/runtimes';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { printable } from '../terminal.ts';

const HELP = `
The event runtime.stop_requested is added to the log; the worker does the rest within seconds.
The user may start it again at any time.

Examples:
  pulsebox runtimes stop ada
  pulsebox runtimes why ada        see what has come of it`;

export function declareStop(runtimes: Command, run: Run): void {
  runtimes
    .command('stop')
    .summary("stop a user's runtime")
    .description("Asks for a user's runtime to be stopped: its Pod and its Service are deleted.")
    .argument('<user>', 'whose')
    .addHelpText('after', HELP)
    .action((user: string) => run((session) => stop(session, user)));
}

async function stop(session: Session, user: string): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const position = await withPool(database, (pool) => requestStop(pool, user));
  session.terminal.result({ user, position }, () =>
    [
      `asked for the runtime of ${printable(user)} to be stopped, by event ${position}`,
      `see what comes of it: pulsebox runtimes why ${printable(user)}`,
    ].join('\n'),
  );
  return exitCodes.ok;
}
