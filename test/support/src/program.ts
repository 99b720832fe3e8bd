// A program of this repository as a child process: its output gathered, its end awaited, nothing left behind.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFailed, onTestFinished } from 'vitest';
import { eventually } from './eventually.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Characters of a program's output that a failed test shows. */
const TOLD_OF_OUTPUT = 4_000;

export interface ProgramOptions {
  readonly args?: readonly string[];
  /** Added to a bare environment: what the test run itself is configured with does not leak in. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Program {
  readonly child: ChildProcess;
  /** Standard output and error so far, as they came. */
  output(): string;
  /** The lines of it that are JSON: a worker's log. */
  log(): readonly Readonly<Record<string, unknown>>[];
  /** Waits until the output contains it. */
  says(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** Runs `node --conditions=source ENTRY` at the root of the repository; it is killed when the test is over. */
export function runProgram(entry: string, options: ProgramOptions = {}): Program {
  const child = spawn(process.execPath, ['--conditions=source', entry, ...(options.args ?? [])], {
    cwd: root,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      NO_COLOR: '1',
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  // What a time-out of the whole test would keep to itself.
  onTestFailed(() => {
    process.stderr.write(`${entry}, process ${child.pid}, said last:\n${output.slice(-TOLD_OF_OUTPUT)}\n`);
  });
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
  });
  return {
    child,
    exited,
    output: () => output,
    log: () =>
      output
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    says: async (text) => {
      await eventually(() => output.includes(text)).catch(() => {
        throw new Error(`expected the output to contain "${text}", got:\n${output}`);
      });
    },
    kill: (signal) => void child.kill(signal),
  };
}
