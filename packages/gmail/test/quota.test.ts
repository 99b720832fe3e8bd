import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMailboxQuotas, createQuota } from '../src/quota.ts';

const MINUTE_MS = 60_000;

test('lets no minute see more than its units, however they are asked for', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ units: fc.integer({ min: 1, max: 100 }), pauseMs: fc.nat(2_000) }), {
        minLength: 200,
        maxLength: 600,
      }),
      (asked) => {
        let now = 0;
        const quota = createQuota({ unitsPerMinute: 1_500, now: () => now });
        const spent: { at: number; units: number }[] = [];
        for (const { units, pauseMs } of asked) {
          spent.push({ at: now + quota.reserve(units), units });
          now += pauseMs;
        }
        for (const { at } of spent) {
          const within = spent.filter((one) => one.at >= at && one.at < at + MINUTE_MS);
          // What is asked for at once is let through when its last unit may be: the burst's edge.
          expect(within.reduce((sum, one) => sum + one.units, 0)).toBeLessThanOrEqual(1_500 + 100);
        }
      },
    ),
  );
});

test('lets what was saved up through at once, and then as much as flows in', () => {
  let now = 0;
  const quota = createQuota({ unitsPerMinute: 15_000, now: () => now });
  expect(quota.reserve(2_500)).toBe(0);
  expect(quota.reserve(125)).toBeCloseTo(600, 3);
  now = 10 * MINUTE_MS;
  expect(quota.reserve(2_500)).toBe(0);
  expect(quota.reserve(5)).toBeGreaterThan(0);
});

test('waits as long as Google asked for, and stops waiting when it is told to', async () => {
  let now = 0;
  const quota = createQuota({ unitsPerMinute: 15_000, now: () => now });
  quota.pause(3_600_000);
  expect(quota.reserve(1)).toBe(3_600_000);
  const stop = new AbortController();
  const waiting = quota.take(1, { signal: stop.signal });
  stop.abort(new Error('stopped'));
  await expect(waiting).rejects.toThrow('stopped');
  now = 3_600_001;
  await quota.take(1, { signal: new AbortController().signal });
});

test('remembers what a mailbox has spent and was asked for, however often it is opened, and forgets it in time', async () => {
  let now = 0;
  const quotas = createMailboxQuotas({ unitsPerMinute: 15_000, now: () => now });
  const { signal } = new AbortController();
  await quotas.of('ada').take(2_500, { signal });
  quotas.of('ada').pause(600_000);
  expect(quotas.of('ada').pausedMs()).toBe(600_000);
  expect(quotas.of('bob').pausedMs()).toBe(0);
  const bob = quotas.of('bob');
  now = 300_000;
  expect(quotas.of('ada').pausedMs()).toBe(300_000);
  expect(quotas.of('bob')).not.toBe(bob);
});
