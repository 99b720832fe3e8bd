// What the soak makes of its samples.

import { describe, expect, test } from 'vitest';
import { measureOf } from './measures.ts';
import { parseOptions } from './options.ts';
import { planFor } from './plan.ts';
import { judgeSamples, passes, renderReport } from './report.ts';
import type { Sample } from './report.ts';
import { judge, slopePerHour } from './verdict.ts';
import type { Point } from './verdict.ts';
import { parseMetrics } from './worker-process.ts';

const MINUTE_MS = 60_000;

/** A sample a minute. */
function pointsOf(count: number, valueAt: (minute: number) => number): Point[] {
  return Array.from({ length: count }, (_, n) => ({ atMs: n * MINUTE_MS, value: valueAt(n) }));
}

const TENTH = { more: 0.1, slack: 0 };

describe('judge', () => {
  test('takes the same up and down of both thirds for flat', () => {
    expect(
      judge(
        pointsOf(90, (n) => 100 + (n % 10)),
        TENTH,
      ),
    ).toMatchObject({
      middle: 104.5,
      last: 104.5,
      flat: true,
    });
  });

  test('finds a leak that is a quarter of the whole in an hour', () => {
    const leaking = judge(
      pointsOf(120, (n) => 100 + n),
      TENTH,
    );
    expect(leaking.flat).toBe(false);
    expect(leaking.slopePerHour).toBeCloseTo(60);
  });

  test('does not mind what happens in the first third, nor one bad minute in the last', () => {
    const points = pointsOf(90, (n) => (n < 30 ? 10 * n : n === 80 ? 5_000 : 200));
    expect(judge(points, TENTH)).toMatchObject({ middle: 200, last: 200, flat: true });
  });

  test('lets a small number grow by its slack', () => {
    const step = pointsOf(30, (n) => (n < 20 ? 4 : 5));
    expect(judge(step, { more: 0, slack: 1 }).flat).toBe(true);
    expect(judge(step, { more: 0, slack: 0 }).flat).toBe(false);
  });

  test('does not call flat what it has too few samples of', () => {
    expect(
      judge(
        pointsOf(2, () => 1),
        TENTH,
      ).flat,
    ).toBe(false);
    expect(judge([], TENTH).flat).toBe(false);
  });

  test('judges nothing without a limit, and says the slope all the same', () => {
    expect(
      judge(
        pointsOf(9, (n) => n),
        undefined,
      ),
    ).toMatchObject({ flat: undefined, slopePerHour: 60 });
  });
});

test('the slope of many samples is that of all of them, outliers left aside', () => {
  const points = pointsOf(2_000, (n) => (n % 10 === 0 ? 1e6 : n / 60));
  expect(slopePerHour(points)).toBeCloseTo(1, 0);
  expect(slopePerHour(pointsOf(1, () => 1))).toBeNaN();
});

describe('a report', () => {
  const samples = pointsOf(60, () => 0).map(({ atMs }, n): Sample => {
    const leak = { 'memory worker heap after a collection': 40 + n / 2, 'disk outbox': 3 };
    return {
      atMs,
      values: n % 2 === 0 ? leak : { ...leak, 'jobs created': 1, 'latency of a push p50': NaN },
    };
  });

  test('judges each measure by its kind, and fails when one grew', () => {
    const measures = judgeSamples(samples, { minutes: 60, warmUpMs: 10 * MINUTE_MS });
    expect(measures.map(({ name, flat }) => [name, flat])).toEqual([
      ['disk outbox', true],
      ['jobs created', undefined],
      ['latency of a push p50', false],
      ['memory worker heap after a collection', false],
    ]);
    expect(passes(measures, [])).toBe(false);
    const flat = measures.filter((measure) => measure.flat !== false);
    expect(passes(flat, [{ what: 'events published twice', count: 0 }])).toBe(true);
    expect(passes(flat, [{ what: 'events published twice', count: 1 }])).toBe(false);
  });

  test('shows what grew, by how much an hour, and against which limit', () => {
    const text = renderReport({
      minutes: 60,
      rate: 50,
      machine: {},
      interrupted: false,
      measures: judgeSamples(samples, { minutes: 60, warmUpMs: 0 }),
      faults: [{ what: 'events published twice', count: 2 }],
      done: { samples: 60 },
      remarks: [],
      passed: false,
    });
    expect(text).toMatch(
      /memory worker heap after a collection \| +54.75 MiB \| +64.75 MiB \| +\+30.00 \| \+10 % \+2 \| \*\*not flat\*\*/,
    );
    expect(text).toMatch(/events published twice +\| \*\*2\*\*/);
    expect(text).toContain('did NOT pass');
  });
});

test('a run that is under way has not passed, however flat it is', () => {
  const samples = pointsOf(60, () => 0).map(({ atMs }): Sample => ({ atMs, values: { 'disk outbox': 3 } }));
  const underWay = {
    minutes: 60,
    rate: 50,
    machine: {},
    interrupted: true,
    done: {},
    remarks: [],
    faults: [],
  };
  const text = renderReport({
    ...underWay,
    measures: judgeSamples(samples, { minutes: 60, warmUpMs: 0 }),
    passed: false,
  });
  expect(text).toContain('not to its end');
  expect(text.endsWith('So far all is flat.')).toBe(true);
});

test('what the issue calls flat has a limit: memory, connections, disk and latency', () => {
  for (const name of [
    'memory push-worker resident',
    'connections pulsebox-worker',
    'disk in all',
    'latency of an item to the index p50',
  ])
    expect(measureOf(name, 120).limit, name).toBeDefined();
  expect(measureOf('CPU seconds worker', 120)).toEqual({ unit: 's' });
  expect(measureOf('event loop soak p99', 120)).toEqual({ unit: 'ms' });
});

test('a short run judges what is so from the beginning, and shows the rest', () => {
  expect(measureOf('connections pulsebox-worker', 3).limit).toBeDefined();
  expect(measureOf('memory worker resident', 3)).toEqual({ unit: 'MiB' });
});

test('a short run goes through partitions and imports, too', () => {
  const [short, long] = [planFor({ minutes: 3, rate: 50 }), planFor({ minutes: 120, rate: 50 })];
  expect(short).toMatchObject({ sampleEveryMs: 3_000, importEveryMs: 30_000, partitionEvents: 3_000 });
  expect(long).toMatchObject({ sampleEveryMs: 10_000, importEveryMs: 600_000, partitionEvents: 9_000 });
});

test('an option that makes no sense is refused in words', () => {
  expect(parseOptions(['--minutes', '3'])).toMatchObject({ minutes: 3, rate: 50, jsonFile: undefined });
  expect(() => parseOptions(['--minutes', 'long'])).toThrow(
    'expected --minutes to be a number from 1 up, got "long"',
  );
  expect(() => parseOptions(['--rate', '0'])).toThrow('expected --rate to be a number from 1 up, got "0"');
});

test('metrics are read with their labels', () => {
  const text =
    '# HELP a b\n# TYPE a gauge\noutbox_lag_events{group="search"} 12\nprocess_open_fds{worker="worker"} 4.2e1\n';
  expect([...parseMetrics(text)]).toEqual([
    ['outbox_lag_events{group="search"}', 12],
    ['process_open_fds{worker="worker"}', 42],
  ]);
});
