// A worker as a container runs it, built and with --loop: its log lines counted, its health asked, its metrics read.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { freePort } from '@pulsebox/test-support';
import { asDeployed } from '../harness/as-deployed.ts';

export const apps = ['worker', 'push-worker', 'watch-worker'] as const;
export type App = (typeof apps)[number];

export interface WorkerProcess {
  readonly app: App;
  /** How many log lines of each level came so far. What is no log line counts as `other`. */
  readonly lines: Readonly<Record<string, number>>;
  /** The first lines of levels above info; whoever has no more use for them may empty it. */
  readonly remarks: string[];
  /** In bytes. Undefined before the first full collection. */
  heapAfterCollection(): number | undefined;
  /** What its container would be charged for beside the files it maps, in bytes. Undefined where there is no /proc. */
  anonymous(): number | undefined;
  /** 0: no answer. */
  health(path?: string): Promise<number>;
  /** Values by name and labels, as Prometheus writes them. */
  metrics(): Promise<ReadonlyMap<string, number>>;
  /** How it ended; asks it to, when it has not. */
  stop(): Promise<string>;
  readonly exited: Promise<string>;
  kill(): void;
}

const root = fileURLToPath(new URL('../../../', import.meta.url));
const probe = new URL('heap-probe.mjs', import.meta.url).href;

const PORT_VARIABLES: Readonly<Record<App, string>> = {
  worker: 'WORKER_HEALTH_PORT',
  'push-worker': 'PUSH_WORKER_HEALTH_PORT',
  'watch-worker': 'WATCH_WORKER_HEALTH_PORT',
};
const MOST_REMARKS = 50;
const ANSWER_WITHIN_MS = 10_000;

export async function startWorker(
  app: App,
  environment: Readonly<Record<string, string>>,
): Promise<WorkerProcess> {
  const port = await freePort();
  const deployed = asDeployed(app);
  const child = spawn(process.execPath, [`apps/${app}/dist`, '--loop'], {
    cwd: root,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: process.env['HOME'] ?? '',
      ...deployed.env,
      NODE_OPTIONS: [...deployed.flags, `--import ${probe}`].join(' '),
      WORKER_HEALTH_HOST: '127.0.0.1',
      [PORT_VARIABLES[app]]: String(port),
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const exited = new Promise<string>((resolve) => {
    child.once('close', (code, signal) => resolve(signal ?? `code ${code}`));
  });
  const { lines, remarks } = countLines(child);
  let heap: number | undefined;
  // Descriptor 3: see heap-probe.mjs.
  createInterface({ input: child.stdio[3] as Readable }).on('line', (line) => (heap = Number(line)));
  const ask = async (path: string): Promise<Response> =>
    await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  return {
    app,
    lines,
    remarks,
    exited,
    heapAfterCollection: () => heap,
    anonymous: () => anonymousBytes(child.pid),
    async health(path = '/health'): Promise<number> {
      return await ask(path).then(
        async (response) => {
          await response.arrayBuffer();
          return response.status;
        },
        () => 0,
      );
    },
    async metrics(): Promise<ReadonlyMap<string, number>> {
      return parseMetrics(await (await ask('/metrics')).text());
    },
    async stop(): Promise<string> {
      child.kill('SIGTERM');
      return await exited;
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

function anonymousBytes(pid: number | undefined): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
  } catch {
    return undefined;
  }
}

function countLines(child: ChildProcess): { lines: Record<string, number>; remarks: string[] } {
  const lines: Record<string, number> = {};
  const remarks: string[] = [];
  const count = (line: string): void => {
    const level = levelOf(line);
    lines[level] = (lines[level] ?? 0) + 1;
    if (!['trace', 'debug', 'info'].includes(level) && remarks.length < MOST_REMARKS) remarks.push(line);
  };
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', count);
  }
  return { lines, remarks };
}

function levelOf(line: string): string {
  try {
    const { level } = JSON.parse(line) as { level?: unknown };
    return typeof level === 'string' ? level : 'other';
  } catch {
    return 'other';
  }
}

/** Lines such as `outbox_lag_events{group="search"} 0`. */
export function parseMetrics(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)/.exec(line) ?? [];
    if (name !== undefined) values.set(name, Number(value));
  }
  return values;
}

/** How many log lines of each level, of all workers. */
export function linesOf(workers: readonly WorkerProcess[]): Readonly<Record<string, number>> {
  const sum: Record<string, number> = {};
  for (const { lines } of workers) {
    for (const [level, count] of Object.entries(lines)) sum[level] = (sum[level] ?? 0) + count;
  }
  return sum;
}
