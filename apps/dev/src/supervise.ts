// A worker as a child process: its log lines made readable, its end noticed.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import { prettyFactory } from 'pino-pretty';
import { checkout } from './checkout.ts';
import type { WorkerApp } from './suite.ts';

export interface SupervisedWorker {
  readonly app: WorkerApp;
  readonly pid: number;
  /** Settles when it has ended. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  signal(signal: NodeJS.Signals): void;
}

export function superviseWorker(
  app: WorkerApp,
  environment: Readonly<Record<string, string | undefined>>,
): SupervisedWorker {
  const child = spawn(process.execPath, [...process.execArgv, app.entry, '--loop'], {
    cwd: checkout.root,
    env: { ...environment, LOG_FORMAT: 'json' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // Not in the terminal's process group: Ctrl-C reaches the supervisor, which stops workers and database in order.
    detached: true,
  });
  const print = linePrinter(app.name);
  createInterface({ input: child.stdout }).on('line', print);
  createInterface({ input: child.stderr }).on('line', print);
  return {
    app,
    pid: child.pid ?? 0,
    exited: new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal }))),
    signal: (signal) => void child.kill(signal),
  };
}

function linePrinter(name: string): (line: string) => void {
  const pretty = prettyFactory({
    colorize: process.stdout.isTTY,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,worker,name,version,commit',
    singleLine: true,
  });
  const label = styleText('cyan', name.padEnd(12), { stream: process.stdout });
  return (line) => {
    const text = line.startsWith('{') ? pretty(line) : `${line}\n`;
    process.stdout.write(`${label} ${text}`);
  };
}
