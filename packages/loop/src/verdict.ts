// From clocks to a verdict: is the worker stuck, is it ready? Pure, so that tests move the clock by hand.

import type { LoopReading, Readings, WorkerState } from './liveness.ts';

/** What the sidecar knows of a loop from the start. */
export interface WatchedLoop {
  readonly name: string;
  readonly staleMs: number;
}

/** How old something is by the sidecar's own waking hours, in milliseconds; never negative. */
export type Age = (sinceMs: number) => number;

export interface Verdict {
  readonly state: WorkerState;
  readonly uptimeMs: number;
  /** Since any loop last ended a turn, failed ones too; before the first, since the process started. */
  readonly sinceLastPollMs: number;
  readonly eventLoop: { readonly stale: boolean; readonly beatAgeMs: number; readonly staleMs: number };
  readonly loops: readonly LoopVerdict[];
}

export interface LoopVerdict extends WatchedLoop {
  readonly phase: LoopReading['phase'];
  readonly stale: boolean;
  /** Since its last beat, or since the rest that it announced was over. */
  readonly silentMs: number;
  /** undefined: never yet. */
  readonly sinceSuccessMs: number | undefined;
  readonly ready: boolean;
}

export function judge(
  readings: Readings,
  watched: { readonly loops: readonly WatchedLoop[]; readonly eventLoopStaleMs: number },
  age: Age,
): Verdict {
  const beatAgeMs = age(readings.eventLoopBeatMs);
  const lastTurnMs = Math.max(readings.startedAtMs, ...readings.loops.map((loop) => loop.lastTurnMs));
  return {
    state: readings.state,
    uptimeMs: age(readings.startedAtMs),
    sinceLastPollMs: age(lastTurnMs),
    eventLoop: { stale: beatAgeMs > watched.eventLoopStaleMs, beatAgeMs, staleMs: watched.eventLoopStaleMs },
    loops: watched.loops.map((loop, index) => judgeLoop(loop, readings.loops[index], age)),
  };
}

function judgeLoop(loop: WatchedLoop, reading: LoopReading | undefined, age: Age): LoopVerdict {
  if (reading === undefined) throw new RangeError(`the clocks have no slots for the loop ${loop.name}`);
  const silentMs = age(Math.max(reading.beatMs, reading.restingUntilMs));
  const turning = reading.phase === 'ticking' || reading.phase === 'resting';
  return {
    ...loop,
    phase: reading.phase,
    silentMs: turning ? silentMs : 0,
    stale: turning && silentMs > loop.staleMs,
    sinceSuccessMs: reading.lastSuccessMs === 0 ? undefined : age(reading.lastSuccessMs),
    ready: reading.goodUntilMs !== 0 && age(reading.goodUntilMs) <= loop.staleMs,
  };
}
