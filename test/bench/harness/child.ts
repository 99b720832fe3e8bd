// Runs a job in a process of its own, so that no contestant inherits the heap, the code caches or the timers of another.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ProcessSettings } from './as-deployed.ts';
import type { FromChild, ProcessUsage, ToChild } from './channel.ts';

export interface Child<Output, Said> {
  /** What it says when it is ready. Rejects when the process ends before. */
  readonly ready: Promise<Said>;
  readonly finished: Promise<Finished<Output>>;
  /** Asks it to come to its end; resolves with what it has to say. */
  stop(): Promise<Finished<Output>>;
  readonly pid: number;
  /** SIGKILL: it has nothing more to say. Resolves when it is gone. */
  kill(): Promise<void>;
}

export interface Finished<Output> {
  readonly output: Output;
  readonly usage: ProcessUsage;
}

/** Node's own sizes of memory, and nothing in the environment but what this process has. */
const AS_NODE_HAS_IT: ProcessSettings = { flags: [], env: {} };

/** @param job the name of a file in test/bench/jobs */
export function startJob<Output, Said = unknown>(
  job: string,
  input: unknown,
  { flags, env }: ProcessSettings = AS_NODE_HAS_IT,
): Child<Output, Said> {
  // Node's own flags are passed on, so that --conditions=source or --cpu-prof reach the contestants too.
  const child = fork(fileURLToPath(new URL('./child-main.ts', import.meta.url)), {
    execArgv: [...process.execArgv, ...flags],
    env: { ...process.env, ...env },
  });
  const ready = Promise.withResolvers<Said>();
  const finished = Promise.withResolvers<Finished<Output>>();
  // Both reject when the process dies; whoever awaits only one of them must not be killed by the other.
  ready.promise.catch(() => undefined);
  finished.promise.catch(() => undefined);
  child.on('message', (message: FromChild) => {
    if (message.kind === 'ready') {
      const said = message.said as Said;
      ready.resolve(said);
    } else finished.resolve({ output: message.output as Output, usage: message.usage });
  });
  child.once('exit', (code, signal) => {
    const error = new Error(`the job ${job} ended with ${signal ?? code} before it was done`);
    ready.reject(error);
    finished.reject(error);
  });
  const send = (message: ToChild): void => void (child.connected && child.send(message));
  send({ request: { job, input } });
  return {
    ready: ready.promise,
    finished: finished.promise,
    async stop(): Promise<Finished<Output>> {
      send({ stop: true });
      return await finished.promise;
    },
    pid: child.pid ?? Number.NaN,
    async kill(): Promise<void> {
      child.kill('SIGKILL');
      await finished.promise.catch(() => undefined);
    },
  };
}

/** Starts the job and waits for its end. */
export async function runJob<Output>(
  job: string,
  input: unknown,
  settings?: ProcessSettings,
): Promise<Finished<Output>> {
  return await startJob<Output>(job, input, settings).finished;
}
