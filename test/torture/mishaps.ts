// Which mishap strikes when: drawn from the seed, each kind at a pace of its own.

import type { TortureOptions } from './plan.ts';
import type { Random } from './random.ts';
import { sinkMishapKinds } from './sink.ts';
import type { SinkMishapKind } from './sink.ts';

/** What befalls one worker process. See README.md for what each of them is, and what may come of it. */
export const workerMishapKinds = ['kill', 'freeze', 'blink', 'restart', 'clock'] as const;

/**
 * What befalls one request on its way to the database: a worker's cursor, its cursor with events to park, the outcome of a
 * redrive, or the COMMIT of either of these two; or a writer's COMMIT. The frequent ones first.
 */
export const requestMishapKinds = [
  'store request lost',
  'store cut off',
  'store answer lost',
  'commit request lost',
  'commit cut off',
  'commit answer lost',
  'park request lost',
  'park cut off',
  'park answer lost',
  'settle request lost',
  'settle cut off',
  'settle answer lost',
  'outcome request lost',
  'outcome cut off',
  'outcome answer lost',
] as const;

/** What an event does to the worker that has it. They are written when the plan says so, and strike when they are read. */
export const eventMishapKinds = ['killer event', 'hanging event'] as const;

/** What a person does meanwhile. */
export const operatorMishapKinds = ['lanes', 'replay', 'discard'] as const;

/** What befalls everybody. */
export const worldMishapKinds = ['crash', 'power cut', 'network away', 'network hung', 'scale'] as const;

export type WorkerMishapKind = (typeof workerMishapKinds)[number];
export type RequestMishapKind = (typeof requestMishapKinds)[number];
export type WorldMishapKind = (typeof worldMishapKinds)[number];
export type EventMishapKind = (typeof eventMishapKinds)[number];
export type OperatorMishapKind = (typeof operatorMishapKinds)[number];
export type MishapKind =
  | WorkerMishapKind
  | RequestMishapKind
  | WorldMishapKind
  | EventMishapKind
  | OperatorMishapKind
  | SinkMishapKind;

export interface Mishap {
  readonly kind: MishapKind;
  /** Since the start of the run. */
  readonly atMs: number;
  readonly lastsMs: number;
  /** The worker that reads a group, or any of them. */
  readonly victim: 'reader' | 'any';
  /** Draws which group, how far a clock moves, how many workers there shall be, how many lanes, or how often an event kills. */
  readonly draw: number;
}

/** Every run has each kind at least once, if it is long enough for four. */
const FIRST_DEATHS = ['kill', 'freeze', 'restart', 'blink'] as const;
const LATER_DEATHS = ['kill', 'kill', 'kill', 'freeze', 'freeze', 'blink', 'restart'] as const;

/** The sizes of the fleet, one after the other: two pods, then three, then one. */
const FLEET_SIZES = [3, 1, 2];
const LONGEST_SCALE_MS = 12_000;

/** What strikes besides the deaths: the kinds in turn, from `fromMs` on, with pauses between the two numbers. */
interface Weather {
  readonly kinds: readonly MishapKind[];
  readonly fromMs: number;
  readonly pauseMs: readonly [number, number];
  readonly lastsMs: readonly [number, number];
}

export function planMishaps(options: TortureOptions, random: Random, crashes: boolean): Mishap[] {
  const { durationMs } = options;
  const weathers: Weather[] = [
    { kinds: requestMishapKinds, fromMs: 300, pauseMs: [150, 900], lastsMs: [0, 0] },
    { kinds: ['lanes'], fromMs: 400, pauseMs: [600, 2_500], lastsMs: [0, 0] },
    { kinds: ['replay', 'discard', 'discard'], fromMs: 1_000, pauseMs: [300, 900], lastsMs: [0, 0] },
    { kinds: sinkMishapKinds, fromMs: 1_500, pauseMs: [1_500, 6_000], lastsMs: [50, 1_500] },
    // Each of these costs a group some seconds: a reader that follows one who died goes carefully.
    { kinds: ['killer event'], fromMs: 1_200, pauseMs: [9_000, 25_000], lastsMs: [0, 0] },
    { kinds: ['hanging event'], fromMs: 2_500, pauseMs: [8_000, 20_000], lastsMs: [0, 0] },
    { kinds: ['clock'], fromMs: 700, pauseMs: [800, 3_000], lastsMs: [0, 0] },
    { kinds: ['network away', 'network hung'], fromMs: 2_000, pauseMs: [3_000, 9_000], lastsMs: [50, 2_500] },
  ];
  if (crashes) {
    const fromMs = Math.round(Math.min(durationMs * 0.5, 8_000));
    weathers.push({ kinds: ['crash', 'power cut'], fromMs, pauseMs: [9_000, 20_000], lastsMs: [0, 2_000] });
  }
  const drawn = weathers.flatMap((weather, n) => planWeather(weather, durationMs, random.fork(n + 1)));
  const planned = [...planDeaths(options, random), ...planScaling(durationMs), ...drawn];
  return planned.filter(({ kind }) => isAllowed(options, kind)).toSorted((a, b) => a.atMs - b.atMs);
}

function isAllowed({ mishaps }: TortureOptions, kind: MishapKind): boolean {
  return mishaps === 'all' || mishaps.includes(kind);
}

function planDeaths(options: TortureOptions, random: Random): Mishap[] {
  const { durationMs, leaseTtlMs } = options;
  const first = FIRST_DEATHS.filter((kind) => isAllowed(options, kind));
  const later = LATER_DEATHS.filter((kind) => isAllowed(options, kind));
  const mishaps: Mishap[] = [];
  if (later.length === 0) return mishaps;
  // A reader that dies is missed for a whole lease, and in that time nothing can be late: let them read in between.
  const [shortest, longest] = [leaseTtlMs * 0.6, leaseTtlMs * 2.2];
  for (
    let atMs = shortest;
    atMs < durationMs;
    atMs += random.integer(Math.round(shortest), Math.round(longest))
  ) {
    const kind = first[mishaps.length] ?? random.pick(later);
    const victim = mishaps.length < first.length || random.chance(0.8) ? 'reader' : 'any';
    const lastsMs = deathLastsMs(kind, leaseTtlMs, random);
    mishaps.push({ kind, atMs: Math.round(atMs), lastsMs, victim, draw: random.integer(0, 1_000) });
  }
  return mishaps;
}

/** A lease is renewed every third of its time and given up at nine tenths: two fifths leave room to renew. */
function deathLastsMs(kind: MishapKind, leaseTtlMs: number, random: Random): number {
  if (kind === 'freeze') return Math.round(leaseTtlMs * random.integer(13, 25) * 0.1);
  if (kind === 'blink') return Math.round(leaseTtlMs * random.integer(1, 4) * 0.1);
  return random.integer(0, 500);
}

function planScaling(durationMs: number): Mishap[] {
  const everyMs = Math.min(durationMs / (FLEET_SIZES.length + 1), LONGEST_SCALE_MS);
  const changes = Math.floor(durationMs / everyMs) - 1;
  return Array.from({ length: Math.max(0, changes) }, (_, n) => ({
    kind: 'scale',
    atMs: Math.round(everyMs * (n + 1)),
    lastsMs: 0,
    victim: 'any',
    draw: FLEET_SIZES[n % FLEET_SIZES.length] ?? 2,
  }));
}

function planWeather(
  { kinds, fromMs, pauseMs, lastsMs }: Weather,
  durationMs: number,
  random: Random,
): Mishap[] {
  const mishaps: Mishap[] = [];
  for (let atMs = fromMs; atMs < durationMs * 0.9; atMs += random.integer(...pauseMs)) {
    const kind = kinds[mishaps.length % kinds.length];
    if (kind === undefined) break;
    mishaps.push({
      kind,
      atMs,
      lastsMs: random.integer(...lastsMs),
      victim: random.chance(0.7) ? 'reader' : 'any',
      draw: random.integer(0, 1_000),
    });
  }
  return mishaps;
}
