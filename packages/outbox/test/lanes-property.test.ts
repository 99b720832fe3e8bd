import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { laneSteps, playLanes } from './lanes-model.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

test('lanes that change while writers write and readers die lose nothing, and keep the order of every key', async () => {
  const tried = { resizes: 0, deliveredAtBarriers: 0 };
  const property = fc.asyncProperty(laneSteps, async (steps) => {
    const outcome = await playLanes(database.pool, steps);
    tried.resizes += outcome.resizes;
    tried.deliveredAtBarriers += outcome.deliveredAtBarriers;
    expect(outcome.faults).toEqual([]);
  });
  const limits = { numRuns: 300, interruptAfterTimeLimit: 12_000, markInterruptAsFailure: false };
  // Once, as a rule. A machine that is slow may not have come to a barrier by then, and would have tried nothing.
  const giveUpAtMs = performance.now() + 180_000;
  do await fc.assert(property, { ...limits, endOnFailure: false });
  while ((tried.resizes === 0 || tried.deliveredAtBarriers === 0) && performance.now() < giveUpAtMs);
  expect(tried.resizes).toBeGreaterThan(0);
  expect(tried.deliveredAtBarriers).toBeGreaterThan(0);
});
