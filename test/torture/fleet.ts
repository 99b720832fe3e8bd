// The worker processes: started, signalled, and never left behind.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MutantName } from './mutants.ts';
import type { WorkerSettings } from './worker.ts';

export interface Member {
  readonly number: number;
  readonly child: ChildProcess;
  readonly logFile: string;
  /** Set by whoever is about to end or stop it: an exit without is a crash. */
  busy: boolean;
}

export interface Fleet {
  readonly started: number;
  /** Processes that turn and that nobody is busy with. */
  idle(): Member[];
  start(): Member;
  /** Moves the wall clock of a worker to so far from the truth. */
  setClock(member: Member, offsetMs: number): void;
  /** SIGTERM to all that run; resolves when they have ended. */
  stop(): Promise<void>;
  /** SIGKILL to all, frozen ones as well, at once. For the way out. */
  destroy(): void;
  /** Workers that ended unasked, or not with 0 when they were asked to stop, with the last lines of their logs. */
  crashes(): Promise<string[]>;
}

export interface FleetOptions {
  readonly databaseUrl: string;
  readonly sinkUrl: string;
  readonly groups: readonly string[];
  readonly leaseTtlMs: number;
  readonly deadlineMs: number;
  readonly logFolder: string;
  readonly mutant: MutantName | undefined;
  readonly batchSizeOf: (worker: number) => number;
  readonly clockOffsetMsOf: (worker: number) => number;
  readonly seedOf: (worker: number) => number;
}

/** As whatever keeps processes running would, after a moment. */
const RESTART_MS = 200;

export function createFleet(options: FleetOptions): Fleet {
  const members: Member[] = [];
  const crashed: Member[] = [];
  let stopping = false;

  const runs = ({ child }: Member): boolean => child.exitCode === null && child.signalCode === null;

  function start(): Member {
    const number = members.length + 1;
    const settings: WorkerSettings = {
      number,
      databaseUrl: options.databaseUrl,
      sinkUrl: options.sinkUrl,
      groups: options.groups,
      batchSize: options.batchSizeOf(number),
      leaseTtlMs: options.leaseTtlMs,
      deadlineMs: options.deadlineMs,
      seed: options.seedOf(number),
    };
    const logFile = join(options.logFolder, `worker-${number}.log`);
    const output = openSync(logFile, 'a');
    const child = spawn(process.execPath, nodeArguments(options.mutant), {
      stdio: ['ignore', output, output, 'ipc'],
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        TORTURE_WORKER: JSON.stringify(settings),
        TORTURE_MUTANT: options.mutant ?? '',
        TORTURE_CLOCK_OFFSET_MS: String(options.clockOffsetMsOf(number)),
      },
    });
    closeSync(output);
    const member: Member = { number, child, logFile, busy: false };
    child.once('exit', (code, signal) => {
      if (!member.busy && signal === 'SIGKILL') replace(member);
      else if (!member.busy || (code !== 0 && code !== null)) crashed.push(member);
    });
    members.push(member);
    return member;
  }

  /** An event has killed it; or the machine has, for want of memory, and nothing must be lost by that either. */
  function replace(member: Member): void {
    member.busy = true;
    setTimeout(() => {
      if (!stopping) start();
    }, RESTART_MS);
  }

  return {
    get started(): number {
      return members.length;
    },
    idle: () => members.filter((member) => runs(member) && !member.busy),
    start,
    setClock(member, offsetMs): void {
      // One that has just ended has no channel any more.
      if (runs(member) && member.child.connected) member.child.send({ clockOffsetMs: offsetMs }, ignore);
    },
    async stop(): Promise<void> {
      stopping = true;
      await Promise.all(members.filter(runs).map(terminate));
    },
    destroy(): void {
      stopping = true;
      for (const member of members.filter(runs)) {
        member.busy = true;
        member.child.kill('SIGKILL');
      }
    },
    crashes: () => Promise.all(crashed.map(lastWords)),
  };
}

/** SIGTERM, and the wait for the end of its drain. */
export async function terminate(member: Member): Promise<void> {
  member.busy = true;
  await end(member, 'SIGTERM');
}

export async function end({ child }: Member, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

function nodeArguments(mutant: MutantName | undefined): string[] {
  return [
    '--conditions=source',
    `--import=${beside('shift-clock.ts').href}`,
    ...(mutant === undefined ? [] : [`--import=${beside('install-mutant.ts').href}`]),
    fileURLToPath(beside('worker.ts')),
  ];
}

function beside(name: string): URL {
  return new URL(name, import.meta.url);
}

async function lastWords({ number, child, logFile }: Member): Promise<string> {
  const lines = (await readFile(logFile, 'utf8')).trim().split('\n').slice(-12);
  return [`worker ${number} ended with ${child.exitCode ?? child.signalCode}`, ...lines].join('\n      ');
}

function ignore(): void {
  // It ended meanwhile; how, is seen elsewhere.
}
