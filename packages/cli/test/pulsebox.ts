// Runs pulsebox as an operator does: a process of its own, with its arguments, environment and standard input.

import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as JSON, in the shape that the caller knows it to have. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- JSON has no type of its own
  json<T>(): T;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}

export const MAIN: string = new URL('../src/main.ts', import.meta.url).pathname;

/** Of the environment of the test run, what has nothing to do with Pulsebox. */
export const BARE: NodeJS.ProcessEnv = {
  PATH: process.env['PATH'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
};

/** Nothing else of the environment of the test run reaches it. */
export async function pulsebox(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, ['--conditions=source', MAIN, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { ...BARE, ...options.env },
    stdio: 'pipe',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A command that fails before it reads everything closes the pipe.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return {
    code,
    stdout,
    stderr,
    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- see above
    json<T>(): T {
      return JSON.parse(stdout) as T;
    },
  };
}
