// What a command gets to work with, however pulsebox was called.

import type { ExitCode } from './exit-code.ts';
import type { Terminal } from './terminal.ts';
import { findDatabase } from './database.ts';
import type { Database } from './database.ts';

export interface Session {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly terminal: Terminal;
  /**
   * From the first call on, Ctrl-C aborts the signal in place of ending the process: for commands that have something
   * to put in order. All others end at once, and the database rolls back what they had begun.
   */
  readonly interruption: () => AbortSignal;
}

/** Hands a session to a command and keeps its exit code. Commands are declared with it. */
export type Run = (command: (session: Session) => Promise<ExitCode>) => Promise<void>;

/** The database, said on standard error when it was found rather than named. */
export async function announceDatabase(session: Session): Promise<Database> {
  const database = await findDatabase(session);
  if (database.source === 'npm start') {
    session.terminal.remark(`using the database of the running npm start: ${database.where}`);
  }
  return database;
}
