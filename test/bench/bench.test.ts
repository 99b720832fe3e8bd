// The bench works: its command line, and one scenario all the way, small. What it measures is no concern of a test.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { percentile } from './harness/statistics.ts';

const ENTRY = 'test/bench/main.ts';
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pulsebox-bench-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

test('says what it can measure, and names the scenarios to someone who asked for another', async () => {
  const asked = runProgram(ENTRY, { args: ['--help'] });
  expect(await asked.exited).toEqual({ code: 0, signal: null });
  const scenarios = [...asked.output().matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name);
  expect(scenarios).toEqual(expect.arrayContaining(['drain', 'latency', 'lanes', 'push']));
  const mistaken = runProgram(ENTRY, { args: ['--only', 'drian'] });
  expect(await mistaken.exited).toEqual({ code: 2, signal: null });
  expect(mistaken.output()).toContain(`expected --only to name one of ${scenarios.join(', ')}, got "drian"`);
});

test('kills a worker, and writes down how long its group stood still', async () => {
  const jsonFile = join(folder, 'bench.json');
  const run = runProgram(ENTRY, { args: ['--quick', '--only', 'takeover', '--json', jsonFile] });
  expect(await run.exited, run.output()).toEqual({ code: 0, signal: null });
  const report = JSON.parse(await readFile(jsonFile, 'utf8')) as {
    scenarios: Record<string, { goals: unknown[]; data: { leaseSeconds: number; gapSeconds: number }[] }>;
  };
  expect(Object.keys(report.scenarios)).toEqual(['takeover']);
  expect(report.scenarios['takeover']?.goals).toHaveLength(1);
  expect(report.scenarios['takeover']?.data).toEqual([{ leaseSeconds: 2, gapSeconds: expect.any(Number) }]);
});

test('percentiles stand between the nearest ranks', () => {
  expect([0, 50, 75, 100].map((percent) => percentile([4, 1, 3, 2], percent))).toEqual([1, 2.5, 3.25, 4]);
  expect(percentile([], 50)).toBeNaN();
});
