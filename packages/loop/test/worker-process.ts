// A worker in a real child process: its log as it comes, its sidecar, its end.

import { spawn, type ChildProcess } from 'node:child_process';
import { get, type IncomingHttpHeaders } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFailed, onTestFinished } from 'vitest';

export type Behaviour =
  | { do: 'idle' }
  | { do: 'handle'; events: number }
  | { do: 'fail' }
  | { do: 'spin'; file: string }
  | { do: 'block-natively'; ms: number }
  | { do: 'hang' }
  | { do: 'unhandled' }
  | { do: 'kill-sidecar' }
  | { do: 'hold'; progress?: boolean; ignoreAbort?: boolean };

export interface FixtureOptions {
  behaviour?: Behaviour;
  port?: number;
  cadenceMs?: number;
  otherCadenceMs?: number;
  deadlineMs?: number;
  drainMs?: number;
  stalenessMultiplier?: number;
  once?: boolean;
  brokenRest?: boolean;
  /** `close` waits for a message. */
  holdClose?: boolean;
  logFormat?: 'json' | 'pretty';
}

export interface LogLine {
  level: string;
  time: string;
  worker: string;
  msg: string;
  loop?: string;
  port?: number;
  stuck?: string[];
  recovered?: string[];
  reason?: string;
  hint?: string;
  err?: { code?: string; message: string; stack: string; hint?: string; cause?: { message: string } };
}

export interface Answer {
  statusCode: number;
  headers: IncomingHttpHeaders;
  text: string;
  tookMs: number;
}

export interface Health {
  status: string;
  state: string;
  worker: string;
  reasons?: string[];
  seconds_since_last_poll: number;
  uptime_seconds: number;
  checks: Record<
    string,
    {
      status: string;
      seconds_since_beat: number;
      phase?: string;
      blocked_by?: string;
      warnings?: Record<string, { status: string; detail?: string }>;
    }
  >;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface WorkerProcess {
  readonly child: ChildProcess;
  readonly output: string[];
  readonly exited: Promise<Exit>;
  /** The lines of the log so far; what is no JSON is left out. */
  lines(): LogLine[];
  tell(behaviour: Behaviour): void;
  /** Resolves with the first line that fits, past or to come; rejects when the process ends without one. */
  line(fits: (line: LogLine) => boolean): Promise<LogLine>;
  /** Resolves when `text` is in the output, past or to come; for what is no JSON. */
  said(text: string): Promise<void>;
  request(path: string, method?: string): Promise<Answer>;
  health(path?: string): Promise<{ statusCode: number; tookMs: number; body: Health }>;
  /** Polls until `fits` holds, and returns the answer that it held for. */
  healthUntil(fits: (statusCode: number, body: Health) => boolean, path?: string): Promise<Health>;
}

/** Runs a file of test/fixtures; the process is gone when the test is over. */
export function runFixture(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): WorkerProcess {
  return runScript(fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url)), args, env);
}

export async function startObedient(options: FixtureOptions = {}): Promise<WorkerProcess> {
  const worker = runFixture('obedient-worker.ts', [JSON.stringify(options)]);
  await worker.line((line) => line.msg === 'started');
  return worker;
}

/** `nodeArgs`: from the sources; none: from what was built. */
export function runScript(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  nodeArgs: readonly string[] = ['--conditions=source'],
): WorkerProcess {
  const child = spawn(process.execPath, [...nodeArgs, file, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...env },
  });
  const output: string[] = [];
  let waiting: (() => void)[] = [];
  const heard = (text: string): void => {
    output.push(text);
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  if (child.stdout === null || child.stderr === null) throw new Error('the output of a child is piped');
  createInterface({ input: child.stdout }).on('line', heard);
  createInterface({ input: child.stderr }).on('line', heard);
  let ended = false;
  const exited = new Promise<Exit>((resolve) => {
    // `close`, not `exit`: only then has all of the output been read.
    child.once('close', (code, signal) => {
      ended = true;
      for (const wake of waiting) wake();
      resolve({ code, signal });
    });
  });
  // What a line that never comes would keep to itself.
  onTestFailed(() => {
    process.stderr.write(`${file}, process ${child.pid}, said last:\n${output.slice(-40).join('\n')}\n`);
  });
  onTestFinished(async () => {
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
  });

  const lines = (): LogLine[] =>
    output.filter((text) => text.startsWith('{')).map((text) => JSON.parse(text));
  const eventually = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (ended) throw new Error(`the process ended without that line:\n${output.join('\n')}`);
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  const line = (fits: (line: LogLine) => boolean): Promise<LogLine> => eventually(() => lines().find(fits));
  const request = async (path: string, method = 'GET'): Promise<Answer> => {
    const { port } = await line(({ msg }) => msg === 'started');
    return ask({ port: port!, path, method });
  };
  const health = async (path = '/health') => {
    const { statusCode, tookMs, text } = await request(path);
    return { statusCode, tookMs, body: JSON.parse(text) as Health };
  };

  return {
    child,
    output,
    exited,
    lines,
    line,
    async said(text) {
      await eventually(() => output.find((heardText) => heardText.includes(text)));
    },
    request,
    health,
    tell: (behaviour) => child.send(behaviour),
    async healthUntil(fits, path) {
      for (;;) {
        const { statusCode, body } = await health(path);
        if (fits(statusCode, body)) return body;
        await new Promise((resolve) => setTimeout(resolve, 10)); // Between two looks, to leave some CPU to the worker.
      }
    },
  };
}

function ask(options: { port: number; path: string; method?: string }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    get({ host: '127.0.0.1', agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { statusCode = 0, headers } = response;
        resolve({ statusCode, headers, text, tookMs: performance.now() - startedAt });
      });
    }).on('error', reject);
  });
}

/** The value of one series in Prometheus text; undefined when it is not there. */
export function metric(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}
