// What a run will do: how much is written, by how many, and what goes wrong when. All of it follows from the seed.

import type { BehaviourName } from './behaviours.ts';
import { mutants } from './mutants.ts';
import type { MutantName } from './mutants.ts';
import { seededRandom } from './random.ts';
import type { Random } from './random.ts';

export interface TortureOptions {
  readonly seed: number;
  /** How long producers write and workers suffer. Catching up afterwards is not counted. */
  readonly durationMs: number;
  /** Clients that write at the same time. */
  readonly writers: number;
  /** Worker processes at the same time: one reads, the others stand by. */
  readonly workers: number;
  /** The same for every worker. Undefined: each process draws one of `BATCH_SIZES`. */
  readonly batchSize?: number | undefined;
  readonly leaseTtlMs: number;
  /** Events in the one large transaction; 0: none. */
  readonly largeTransaction: number;
  /** Whether workers are killed, frozen and restarted. */
  readonly chaos: boolean;
  /** What writers do most of the time. Undefined: of everything some. */
  readonly favoured?: BehaviourName | undefined;
  /** A fault put into the workers' code on purpose. */
  readonly mutant?: MutantName | undefined;
}

export type Load = Pick<
  TortureOptions,
  'writers' | 'workers' | 'largeTransaction' | 'chaos' | 'favoured' | 'mutant'
>;

/** The usual load; and where a mutant needs no deaths, one in which little happens but what it stumbles over. */
export function loadFor(mutant: MutantName | undefined): Load {
  const provokedBy = mutant === undefined ? 'deaths' : mutants[mutant].provokedBy;
  if (provokedBy === 'deaths')
    return { writers: 8, workers: 3, largeTransaction: 100_000, chaos: true, mutant };
  const { writers, behaviour: favoured } = provokedBy;
  return { writers, workers: 1, largeTransaction: 0, chaos: false, favoured, mutant };
}

export type MishapKind = 'kill' | 'freeze' | 'blink' | 'restart';

/**
 * - `kill`: SIGKILL, and a new process `lastsMs` later.
 * - `freeze`: SIGSTOP for longer than the lease, then SIGCONT: it wakes up believing that it still reads.
 * - `blink`: SIGSTOP for so short a time that the lease survives. Nothing may be delivered again because of it.
 * - `restart`: SIGTERM, a drain, and a new process. Nothing may be delivered again because of it either.
 */
export interface Mishap {
  readonly kind: MishapKind;
  /** Since the start of the run. */
  readonly atMs: number;
  readonly lastsMs: number;
  /** The worker that holds the lease, or any of them. */
  readonly victim: 'reader' | 'any';
}

export interface Plan {
  readonly mishaps: readonly Mishap[];
  readonly batchSizeOf: (worker: number) => number;
  readonly randomOfWriter: (writer: number) => Random;
  readonly randomOfWorker: (worker: number) => Random;
}

/** Small ones page the large transaction through many frozen pages; a take-over goes on with another size. */
const BATCH_SIZES = [20, 100, 500, 1_000];

/** Every run has each kind at least once, if it is long enough for four. */
const FIRST: readonly MishapKind[] = ['kill', 'freeze', 'restart', 'blink'];
const LATER: readonly MishapKind[] = ['kill', 'kill', 'kill', 'freeze', 'freeze', 'blink', 'restart'];

export function plan(options: TortureOptions): Plan {
  const root = seededRandom(options.seed);
  return {
    mishaps: options.chaos ? planMishaps(options, root.fork(1)) : [],
    batchSizeOf: (worker) => options.batchSize ?? root.fork(2 + worker).pick(BATCH_SIZES),
    randomOfWriter: (writer) => root.fork(1_000_000 + writer),
    randomOfWorker: (worker) => root.fork(2_000_000 + worker),
  };
}

function planMishaps({ durationMs, leaseTtlMs }: TortureOptions, random: Random): Mishap[] {
  const mishaps: Mishap[] = [];
  // A reader that dies is missed for a whole lease, and in that time nothing can be late: let them read in between.
  const [shortestGap, longestGap] = [leaseTtlMs * 0.6, leaseTtlMs * 2.2];
  for (
    let atMs = shortestGap;
    atMs < durationMs;
    atMs += random.integer(Math.round(shortestGap), Math.round(longestGap))
  ) {
    const kind = FIRST[mishaps.length] ?? random.pick(LATER);
    const victim = mishaps.length < FIRST.length || random.chance(0.8) ? 'reader' : 'any';
    mishaps.push({ kind, atMs: Math.round(atMs), lastsMs: lastsMs(kind, leaseTtlMs, random), victim });
  }
  return mishaps;
}

/** A lease is renewed every third of its time and given up at nine tenths: two fifths leave room to renew. */
function lastsMs(kind: MishapKind, leaseTtlMs: number, random: Random): number {
  if (kind === 'freeze') return Math.round(leaseTtlMs * random.integer(13, 25) * 0.1);
  if (kind === 'blink') return Math.round(leaseTtlMs * random.integer(1, 4) * 0.1);
  return random.integer(0, 500);
}
