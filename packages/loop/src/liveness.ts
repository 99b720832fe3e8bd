// The clocks that prove a worker alive. The main thread writes them into shared memory; the sidecar's thread reads
// them, also while the main thread is blocked. All times are CLOCK_MONOTONIC in nanoseconds, the same in every thread.

/** The event loop beats this often, in milliseconds. */
export const EVENT_LOOP_BEAT_MS = 250;
/** No loop is called stale sooner than this, in milliseconds: garbage collection and noisy neighbours are no stalls. */
const SHORTEST_STALE_MS = 1_000;

const workerStates = ['starting', 'running', 'draining'] as const;
export type WorkerState = (typeof workerStates)[number];

/** `waiting`: not started; `ended`: has done its last tick. Neither can be stale. */
const loopPhases = ['waiting', 'ticking', 'resting', 'ended'] as const;
export type LoopPhase = (typeof loopPhases)[number];

// Slots of the shared array: three for the worker, then six for each loop.
const STARTED_AT = 0;
const EVENT_LOOP_BEAT = 1;
const STATE = 2;
const WORKER_SLOTS = 3;
const PHASE = 0;
const BEAT = 1;
const RESTING_UNTIL = 2;
const LAST_TURN = 3;
const LAST_SUCCESS = 4;
const GOOD_UNTIL = 5;
const LOOP_SLOTS = 6;

/** A loop's stale time: how long it may go without a beat beyond what it announced, in milliseconds. */
export function staleMs(stalenessMultiplier: number, cadenceMs: number): number {
  return Math.max(SHORTEST_STALE_MS, stalenessMultiplier * cadenceMs);
}

/** The event loop's stale time: the multiplier times one second, whatever the cadences are. */
export function eventLoopStaleMs(stalenessMultiplier: number): number {
  return staleMs(stalenessMultiplier, 1_000);
}

/** What the main thread writes. */
export interface Clocks {
  readonly buffer: SharedArrayBuffer;
  readonly beatEventLoop: () => void;
  setState(state: WorkerState): void;
  loop(index: number): LoopClock;
}

export interface LoopClock {
  tickStarted(): void;
  /** A beat in mid-tick. It also vouches for readiness, unless the loop's last turn failed. */
  progress(): void;
  tickSucceeded(): void;
  tickFailed(): void;
  /** Announces a rest: until it is over, and the stale time beyond it, silence is no stall. */
  resting(ms: number): void;
  ended(): void;
}

export function createClocks(loopCount: number): Clocks {
  const buffer = new SharedArrayBuffer(
    (WORKER_SLOTS + loopCount * LOOP_SLOTS) * BigInt64Array.BYTES_PER_ELEMENT,
  );
  const slots = new BigInt64Array(buffer);
  const store = (slot: number, value: bigint): void => {
    Atomics.store(slots, slot, value);
  };
  store(STARTED_AT, now() - BigInt(Math.round(process.uptime() * 1e9)));
  store(EVENT_LOOP_BEAT, now());

  return {
    buffer,
    beatEventLoop(): void {
      store(EVENT_LOOP_BEAT, now());
    },
    setState(state: WorkerState): void {
      store(STATE, BigInt(workerStates.indexOf(state)));
    },
    loop(index: number): LoopClock {
      const base = WORKER_SLOTS + index * LOOP_SLOTS;
      let failing = false;
      const phase = (to: LoopPhase): void => {
        store(base + PHASE, BigInt(loopPhases.indexOf(to)));
      };
      return {
        tickStarted(): void {
          store(base + BEAT, now());
          store(base + RESTING_UNTIL, 0n);
          phase('ticking');
        },
        progress(): void {
          const at = now();
          store(base + BEAT, at);
          if (!failing) store(base + GOOD_UNTIL, at);
        },
        tickSucceeded(): void {
          const at = now();
          failing = false;
          store(base + BEAT, at);
          store(base + LAST_TURN, at);
          store(base + LAST_SUCCESS, at);
          store(base + GOOD_UNTIL, at);
        },
        tickFailed(): void {
          const at = now();
          failing = true;
          store(base + BEAT, at);
          store(base + LAST_TURN, at);
        },
        resting(ms: number): void {
          const until = now() + BigInt(Math.round(ms * 1e6));
          store(base + RESTING_UNTIL, until);
          if (!failing) store(base + GOOD_UNTIL, until);
          phase('resting');
        },
        ended(): void {
          phase('ended');
        },
      };
    },
  };
}

function now(): bigint {
  return process.hrtime.bigint();
}

/** What the clocks say, in milliseconds of the monotonic clock; 0 stands for never. */
export interface Readings {
  readonly startedAtMs: number;
  readonly eventLoopBeatMs: number;
  readonly state: WorkerState;
  readonly loops: readonly LoopReading[];
}

export interface LoopReading {
  readonly phase: LoopPhase;
  readonly beatMs: number;
  readonly restingUntilMs: number;
  readonly lastTurnMs: number;
  readonly lastSuccessMs: number;
  /** The last proof that the loop does its work; in the future while it rests after a success. */
  readonly goodUntilMs: number;
}

export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function readClocks(buffer: SharedArrayBuffer): Readings {
  const slots = new BigInt64Array(buffer);
  const ms = (slot: number): number => Number(Atomics.load(slots, slot)) / 1e6;
  const word = <T>(words: readonly T[], slot: number): T => {
    const found = words[Number(Atomics.load(slots, slot))];
    if (found === undefined) throw new RangeError(`slot ${slot} of the clocks holds no word`);
    return found;
  };
  const loops: LoopReading[] = [];
  for (let base = WORKER_SLOTS; base < slots.length; base += LOOP_SLOTS) {
    loops.push({
      phase: word(loopPhases, base + PHASE),
      beatMs: ms(base + BEAT),
      restingUntilMs: ms(base + RESTING_UNTIL),
      lastTurnMs: ms(base + LAST_TURN),
      lastSuccessMs: ms(base + LAST_SUCCESS),
      goodUntilMs: ms(base + GOOD_UNTIL),
    });
  }
  return {
    startedAtMs: ms(STARTED_AT),
    eventLoopBeatMs: ms(EVENT_LOOP_BEAT),
    state: word(workerStates, STATE),
    loops,
  };
}
