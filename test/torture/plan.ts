// What a run will do: how much is written, by how many, and what goes wrong when. All of it follows from the seed.

import type { BehaviourName } from './behaviours.ts';
import { planMishaps } from './mishaps.ts';
import type { Mishap, MishapKind } from './mishaps.ts';
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
  /** Worker processes at the start: one reads a group, the others stand by. */
  readonly workers: number;
  /** Consumer groups on the one log; every worker reads all of them if it can. */
  readonly groups: number;
  /** The same for every worker. Undefined: each process draws one of `BATCH_SIZES`. */
  readonly batchSize?: number | undefined;
  readonly leaseTtlMs: number;
  /** Of a batch: it is aborted then. */
  readonly deadlineMs: number;
  /** The share of events that fail, from 0 to 1. */
  readonly failing: number;
  /** Events in the one large transaction; 0: none. */
  readonly largeTransaction: number;
  /** What befalls workers, network, database and sink; and with `all`, what is held open besides. */
  readonly mishaps: 'all' | readonly MishapKind[];
  /** What writers do most of the time. Undefined: of everything some. */
  readonly favoured?: BehaviourName | undefined;
  /** A fault put into the workers' code on purpose. */
  readonly mutant?: MutantName | undefined;
}

export type Load = Pick<
  TortureOptions,
  | 'writers'
  | 'workers'
  | 'groups'
  | 'batchSize'
  | 'failing'
  | 'largeTransaction'
  | 'mishaps'
  | 'favoured'
  | 'mutant'
>;

/** Attempts after which an event is a dead letter. */
export const MAX_ATTEMPTS = 4;

const FAILING = 0.03;

/** The usual load; and where a mutant needs less, one in which little happens but what it stumbles over. */
export function loadFor(mutant: MutantName | undefined): Load {
  const usual: Load = {
    writers: 8,
    workers: 2,
    groups: 2,
    failing: FAILING,
    largeTransaction: 100_000,
    mishaps: 'all',
    mutant,
  };
  if (mutant === undefined) return usual;
  const { behaviour: favoured, mishaps = [], ...provoking } = mutants[mutant].provokedBy;
  if (mishaps === 'all') return usual;
  const alone = mishaps.length === 0 ? { workers: 1 } : {};
  return { ...usual, groups: 1, largeTransaction: 0, failing: 0, ...alone, favoured, mishaps, ...provoking };
}

export interface Plan {
  readonly mishaps: readonly Mishap[];
  readonly batchSizeOf: (worker: number) => number;
  /** How far a worker's clock is from the truth when it starts, in milliseconds. */
  readonly clockOffsetMsOf: (worker: number) => number;
  readonly randomOfWriter: (writer: number) => Random;
  readonly randomOfWorker: (worker: number) => Random;
}

/** Small ones page the large transaction through many frozen pages; a take-over goes on with another size. */
const BATCH_SIZES = [20, 50, 200, 500];

/** @param crashes whether the database is ours to kill */
export function plan(options: TortureOptions, crashes: boolean): Plan {
  const root = seededRandom(options.seed);
  return {
    mishaps: planMishaps(options, root.fork(1), crashes),
    batchSizeOf: (worker) => options.batchSize ?? root.fork(2 + worker).pick(BATCH_SIZES),
    clockOffsetMsOf: (worker) =>
      options.mishaps === 'all' ? root.fork(3_000_000 + worker).integer(-72, 72) * 3_600_000 : 0,
    randomOfWriter: (writer) => root.fork(1_000_000 + writer),
    randomOfWorker: (worker) => root.fork(2_000_000 + worker),
  };
}
