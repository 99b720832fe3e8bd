import { expect, test } from 'vitest';
import { createBackoff } from '../src/backoff.ts';
import { faultMemory } from '../src/fault-memory.ts';
import { eventLoopStaleMs, staleMs, type LoopReading, type Readings } from '../src/liveness.ts';
import { judge, type Verdict } from '../src/verdict.ts';
import { createWakingHours } from '../src/waking-hours.ts';

/** A verdict at the second 1,000 about one loop whose stale time is 3 s. */
function verdictOf(loop: Partial<LoopReading>, worker: Partial<Readings> = {}): Verdict {
  const hours = createWakingHours(1_000_000);
  const reading: LoopReading = {
    phase: 'ticking',
    beatMs: 1_000_000,
    restingUntilMs: 0,
    lastTurnMs: 1_000_000,
    lastSuccessMs: 1_000_000,
    goodUntilMs: 1_000_000,
    ...loop,
  };
  const readings: Readings = {
    startedAtMs: 0,
    eventLoopBeatMs: 1_000_000,
    state: 'running',
    loops: [reading],
    ...worker,
  };
  return judge(readings, { loops: [{ name: 'work', staleMs: 3_000 }], eventLoopStaleMs: 3_000 }, (ms) =>
    hours.age(ms),
  );
}

test('a stale time is the multiplier times the cadence, and at least a second', () => {
  expect(staleMs(3, 1_000)).toBe(3_000);
  expect(staleMs(3, 10)).toBe(1_000);
  expect(eventLoopStaleMs(3)).toBe(3_000);
  expect(eventLoopStaleMs(1)).toBe(1_000);
});

test('a tick is stale when it has been silent for longer than the stale time, not before', () => {
  expect(verdictOf({ beatMs: 997_000 }).loops[0]?.stale).toBe(false);
  expect(verdictOf({ beatMs: 996_999 }).loops[0]?.stale).toBe(true);
});

test('a rest is never stale before the end that it announced, and the stale time beyond', () => {
  const resting = { phase: 'resting', beatMs: 1_000 } as const;
  expect(verdictOf({ ...resting, restingUntilMs: 2_000_000 }).loops[0]).toMatchObject({
    stale: false,
    silentMs: 0,
  });
  expect(verdictOf({ ...resting, restingUntilMs: 997_000 }).loops[0]?.stale).toBe(false);
  expect(verdictOf({ ...resting, restingUntilMs: 996_999 }).loops[0]?.stale).toBe(true);
});

test('a loop that has not started, or has ended, is never stale', () => {
  expect(verdictOf({ phase: 'waiting', beatMs: 0 }).loops[0]?.stale).toBe(false);
  expect(verdictOf({ phase: 'ended', beatMs: 0 }).loops[0]?.stale).toBe(false);
});

test('a loop is ready from its first success until its last is a stale time old', () => {
  expect(verdictOf({ goodUntilMs: 0, lastSuccessMs: 0 }).loops[0]).toMatchObject({
    ready: false,
    sinceSuccessMs: undefined,
  });
  expect(verdictOf({ goodUntilMs: 997_000 }).loops[0]?.ready).toBe(true);
  expect(verdictOf({ goodUntilMs: 996_999 }).loops[0]?.ready).toBe(false);
});

test('the event loop is stale by its own beat', () => {
  expect(verdictOf({}, { eventLoopBeatMs: 997_000 }).eventLoop.stale).toBe(false);
  expect(verdictOf({}, { eventLoopBeatMs: 996_999 }).eventLoop.stale).toBe(true);
});

test('waking hours leave out the time in which the process did not run', () => {
  const hours = createWakingHours(0);
  for (let now = 0; now <= 1_000; now += 100) expect(hours.observe(now)).toBe(false);
  expect(hours.age(900)).toBe(100);
  expect(hours.observe(60_000)).toBe(true);
  expect(hours.age(900)).toBe(100);
  expect(hours.age(30_000)).toBe(0);
  expect(hours.observe(60_100)).toBe(false);
  expect(hours.age(900)).toBe(200);
  expect(hours.age(60_000)).toBe(100);
  // What was stale before the suspension is stale after it.
  expect(hours.age(-5_000)).toBe(6_100);
});

test('waking hours are exact over many suspensions', () => {
  const hours = createWakingHours(0);
  for (let hour = 1; hour <= 5; hour += 1) {
    hours.observe(hour * 10_000);
    hours.observe(hour * 10_000 + 500);
  }
  expect(hours.age(0)).toBe(5 * 500);
});

test('backoff doubles from 100 ms to 10 s, jitters its upper half, and starts anew after a success', () => {
  const longest = createBackoff({ random: () => 0.999999 });
  const shortest = createBackoff({ random: () => 0 });
  expect(Array.from({ length: 11 }, () => longest.failed())).toEqual([
    100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000, 10_000,
  ]);
  expect(Array.from({ length: 11 }, () => shortest.failed()).at(-1)).toBe(5_000);
  for (let i = 0; i < 2_000; i += 1) longest.failed();
  expect(longest.failed()).toBe(10_000);
  longest.succeeded();
  expect(longest.failures).toBe(0);
  expect(longest.failed()).toBe(100);
});

test('a fault is news once a minute, or when it is another one, whatever numbers are in it', () => {
  let nowMs = 0;
  const faults = faultMemory(() => nowMs);
  const refused = (port: number): Error => new Error(`connect ECONNREFUSED 127.0.0.1:${port}`);
  expect(faults.isNews(refused(5432))).toBe(true);
  nowMs = 59_999;
  expect(faults.isNews(refused(5433))).toBe(false);
  nowMs = 60_000;
  expect(faults.isNews(refused(5432))).toBe(true);
  expect(faults.isNews(new Error('a view is missing'))).toBe(true);
  expect(faults.isNews('not even an error')).toBe(true);
  expect(faults.isNews('not even an error')).toBe(false);
  faults.forget();
  expect(faults.isNews('not even an error')).toBe(true);
});
