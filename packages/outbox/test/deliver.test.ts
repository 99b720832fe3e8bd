import { describe, expect, test } from 'vitest';
import { deliver } from '../src/deliver/deliver.ts';
import type { Delivered, DeliveryOrder } from '../src/deliver/deliver.ts';
import type { OutboxEvent } from '../src/log/event.ts';
import type { Handler } from '../src/deliver/handler.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { quiet } from './relay-runner.ts';

/** `a#1` is an event of the key `a`; one without `#` has no key. */
function event(label: string, n: number): OutboxEvent {
  const key = label.includes('#') ? (label.split('#')[0] ?? null) : null;
  return { position: n + 1, topic: 't', key, payload: label, headers: {}, createdAt: new Date(0) };
}

function label(of: OutboxEvent): string {
  return of.payload as string;
}

interface Run {
  readonly outcome: Delivered;
  /** What each call was given. */
  readonly calls: readonly string[][];
  readonly leaseConfirmations: number;
}

interface RunOptions {
  readonly order?: DeliveryOrder;
  readonly signal?: AbortSignal;
  readonly confirmLease?: () => void;
}

async function run(
  labels: readonly string[],
  handler: (labels: readonly string[], events: readonly OutboxEvent[]) => Awaited<ReturnType<Handler>>,
  options: RunOptions = {},
): Promise<Run> {
  const calls: string[][] = [];
  let leaseConfirmations = 0;
  const outcome = await deliver({
    batch: { group: 'g', lane: 0, events: labels.map(event) },
    handler: async ({ events }) => {
      const given = events.map(label);
      calls.push(given);
      return handler(given, events);
    },
    context: {
      signal: options.signal ?? new AbortController().signal,
      fencingToken: 1,
      progress: () => undefined,
      log: quiet,
    },
    order: options.order ?? 'key',
    confirmLease: async () => {
      leaseConfirmations += 1;
      options.confirmLease?.();
    },
  });
  return { outcome, calls, leaseConfirmations };
}

function failing(...bad: readonly string[]): (labels: readonly string[]) => undefined {
  return (labels) => {
    const found = labels.find((one) => bad.includes(one));
    if (found !== undefined) throw new Error(`cannot take ${found}`);
    return undefined;
  };
}

function failedLabels({ outcome }: Run): string[] {
  return outcome.failed.map((failure) => label(failure.event));
}

describe('a batch that the handler throws on', () => {
  test.each([1, 2, 100, 256, 500])(
    'of which event %i of 500 is bad costs at most 2 log2(n) more calls, and the others are delivered',
    async (bad) => {
      const labels = Array.from({ length: 500 }, (_, n) => `k${n + 1}#`);
      const handler = failing(`k${bad}#`);
      const ran = await run(labels, handler);
      expect(failedLabels(ran)).toEqual([`k${bad}#`]);
      expect(ran.outcome.heldBack).toEqual([]);
      expect(ran.calls.length).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(500)));
      const delivered = ran.calls.filter((call) => !call.includes(`k${bad}#`)).flat();
      expect(delivered.toSorted()).toEqual(labels.filter((one) => one !== `k${bad}#`).toSorted());
    },
  );

  test('for a passing reason has no bad event', async () => {
    let calls = 0;
    const ran = await run(['a', 'b', 'c', 'd'], () => {
      calls += 1;
      if (calls === 1) throw new Error('once');
      return undefined;
    });
    expect(ran.outcome.failed).toEqual([]);
    expect(new Set(ran.calls.slice(1).flat())).toEqual(new Set(['a', 'b', 'c', 'd']));
  });

  test('whatever is bad in it: exactly that is found, every other event delivered, and no key overtaken', async () => {
    // Every subset of eight events of three keys.
    const labels = ['a#1', 'b#2', 'a#3', 'n4', 'c#5', 'b#6', 'a#7', 'n8'];
    for (let subset = 0; subset < 256; subset += 1) {
      const bad = labels.filter((_, n) => (subset & (1 << n)) !== 0);
      const ran = await run(labels, failing(...bad));
      const keyOf = (one: string): string | undefined => (one.includes('#') ? one.split('#')[0] : undefined);
      const firstBadOf = (key: string): string | undefined => bad.find((one) => keyOf(one) === key);
      const expectedFailed = labels.filter((one) => {
        const key = keyOf(one);
        return bad.includes(one) && (key === undefined || firstBadOf(key) === one);
      });
      const expectedHeld = labels.filter((one, n) => {
        const key = keyOf(one);
        const first = key === undefined ? undefined : firstBadOf(key);
        return first !== undefined && labels.indexOf(first) < n;
      });
      expect(failedLabels(ran)).toEqual(expectedFailed);
      expect(ran.outcome.heldBack.map(label)).toEqual(expectedHeld);
      const delivered = ran.calls.filter((call) => !call.some((one) => bad.includes(one))).flat();
      expect(delivered.toSorted()).toEqual(
        labels.filter((one) => !expectedFailed.includes(one) && !expectedHeld.includes(one)).toSorted(),
      );
    }
  });

  test('goes on with the later events of a key that failed, for a group that keeps no order', async () => {
    const ran = await run(['a#1', 'a#2', 'a#3'], failing('a#1', 'a#3'), { order: 'none' });
    expect(failedLabels(ran)).toEqual(['a#1', 'a#3']);
    expect(ran.outcome.heldBack).toEqual([]);
    expect(ran.calls).toContainEqual(['a#2']);
  });

  test('tells what a retry can mend from what it cannot', async () => {
    const refused = new SinkError('rejected', 'X', 'too long', { hint: 'h' });
    const ran = await run(['a', 'b'], (labels) => {
      if (labels.includes('a')) throw refused;
      throw new Error('x'.repeat(5_000));
    });
    expect(ran.outcome.failed).toEqual([
      expect.objectContaining({ reason: 'too long', retryable: false, error: refused }),
      expect.objectContaining({ reason: 'x'.repeat(2_000), retryable: true }),
    ]);
  });
});

describe('a handler that reports', () => {
  test('single events is believed, and asked no more', async () => {
    const ran = await run(['a#1', 'b#2', 'c#3'], (_labels, events) => ({
      failed: [{ position: events[1]!.position, reason: 'no', retryable: false }],
    }));
    expect(ran.calls).toHaveLength(1);
    expect(failedLabels(ran)).toEqual(['b#2']);
    expect(ran.outcome.failed[0]).toMatchObject({ reason: 'no', retryable: false });
  });

  test('an event has the later ones of its key held back, also those that it reports beside it', async () => {
    const report = (position: number): { position: number; reason: string; retryable: boolean } => ({
      position,
      reason: 'no',
      retryable: true,
    });
    const ran = await run(['a#1', 'a#2', 'b#3', 'a#4'], () => ({ failed: [report(4), report(1)] }));
    expect(failedLabels(ran)).toEqual(['a#1']);
    expect(ran.outcome.heldBack.map(label)).toEqual(['a#2', 'a#4']);
  });

  test('a position that it was not given has made a mistake, which no event is blamed for', async () => {
    await expect(
      run(['a'], () => ({ failed: [{ position: 99, reason: 'no', retryable: true }] })),
    ).rejects.toMatchObject({ code: 'OUTBOX_HANDLER_RESULT_INVALID' });
  });
});

describe('a handler that returns what no handler returns', () => {
  const report = { position: 1, reason: 'no', retryable: true };

  test.each<[string, unknown, string]>([
    ['true', true, 'expected a handler to return nothing or { failed: [...] }, got true'],
    ['a list of events', [1], 'expected a handler to return nothing or { failed: [...] }, got [1]'],
    ['failed that is no list', { failed: 'a#1' }, 'got {"failed":"a#1"}'],
    ['a report that is none', { failed: [null] }, 'reported a failure that is none: null'],
    [
      'a position as text',
      { failed: [{ ...report, position: '1' }] },
      'of position "1", which is not in its batch',
    ],
    [
      'a position that it was not given',
      { failed: [{ ...report, position: 7 }] },
      'of position 7, which is not',
    ],
    ['no position', { failed: [{ ...report, position: undefined }] }, 'of position undefined, which is not'],
    [
      'no reason',
      { failed: [{ position: 1, retryable: true }] },
      'with the reason undefined, where a sentence',
    ],
    ['an error for a reason', { failed: [{ ...report, reason: new Error('x') }] }, 'with the reason {}'],
    [
      'a word for retryable',
      { failed: [{ ...report, retryable: 'no' }] },
      'with retryable "no", where true or false',
    ],
    [
      'a text for a wait',
      { failed: [{ ...report, retryAfterMs: '5s' }] },
      'with retryAfterMs "5s", where milliseconds',
    ],
    ['a big number', { failed: [{ ...report, position: 1n }] }, 'of position 1n, which is not'],
  ])('%s: is told what was expected, and nothing is stored', async (_what, returned, said) => {
    await expect(run(['a#1'], () => returned as never)).rejects.toMatchObject({
      code: 'OUTBOX_HANDLER_RESULT_INVALID',
      message: expect.stringContaining(said) as string,
    });
  });

  test('null and an empty list are all delivered', async () => {
    for (const returned of [null, { failed: [] }])
      expect((await run(['a#1'], () => returned as never)).outcome).toEqual({ failed: [], heldBack: [] });
  });

  test('of two reports about one event the last counts', async () => {
    const ran = await run(['a#1'], () => ({ failed: [report, { ...report, reason: 'again' }] }));
    expect(ran.outcome.failed.map(({ reason }) => reason)).toEqual(['again']);
  });
});

test.each<[string, unknown, string]>([
  ['undefined', undefined, 'the handler threw without a word'],
  ['an error without a message', new Error(''), 'the handler threw without a word'],
  ['null', null, 'null'],
  ['a symbol', Symbol('x'), 'Symbol(x)'],
  ['an object without a prototype', Object.create(null), '{}'],
  ['an error whose message is none', Object.assign(new Error('x'), { message: 5 }), '5'],
  ['a mebibyte of NULs', new Error('\0'.repeat(1_048_576)), '\uFFFD'.repeat(2_000)],
])('a handler that throws %s has an event to blame all the same', async (_what, thrown, reason) => {
  const ran = await run(['a#1'], () => {
    throw thrown;
  });
  expect(ran.outcome.failed.map((one) => one.reason)).toEqual([reason]);
});

describe('no event is blamed', () => {
  test('when the sink is away, also when that shows in the midst of narrowing', async () => {
    const away = new SinkError('away', 'X', 'down', { hint: 'h' });
    let calls = 0;
    const running = run(['a', 'b', 'c', 'd'], () => {
      calls += 1;
      if (calls === 1) throw new Error('bad');
      throw away;
    });
    await expect(running).rejects.toBe(away);
    expect(calls).toBe(2);
  });

  test.each([
    ['a refused connection, three causes deep', { cause: { cause: { code: 'ECONNREFUSED' } } }],
    ['a database that shuts down', { code: '57P01' }],
    ['a database that is full', { code: '53100' }],
    ['a table that is not there', { code: '42P01' }],
    ['a connection that the driver lost', { message: 'Connection terminated unexpectedly' }],
    ['a time-out', { name: 'TimeoutError' }],
  ])('for %s', async (_what, properties) => {
    const build = (given: object): Error => {
      const { cause, ...own } = given as { cause?: object };
      return Object.assign(new Error('x', cause === undefined ? {} : { cause: build(cause) }), own);
    };
    await expect(
      run(['a', 'b'], () => {
        throw build(properties);
      }),
    ).rejects.toMatchObject({ name: 'SinkError', kind: 'away', code: 'OUTBOX_SINK_UNREACHABLE' });
  });

  test('when the batch was aborted meanwhile, whatever the handler threw or returned', async () => {
    for (const end of [
      (): undefined => undefined,
      (): never => {
        throw new Error('cut off');
      },
    ]) {
      const controller = new AbortController();
      const reason = new Error('too late');
      const running = run(
        ['a', 'b'],
        () => {
          controller.abort(reason);
          return end();
        },
        { signal: controller.signal },
      );
      await expect(running).rejects.toBe(reason);
    }
  });

  test('when the lease turns out to be lost: it is asked for before anything else is tried', async () => {
    const controller = new AbortController();
    const lost = new Error('fenced');
    const calls: unknown[] = [];
    const running = run(
      ['a', 'b'],
      (labels) => {
        calls.push(labels);
        throw new Error('the sink saw a greater token');
      },
      { signal: controller.signal, confirmLease: () => controller.abort(lost) },
    );
    await expect(running).rejects.toBe(lost);
    expect(calls).toHaveLength(1);
  });

  test("only where no event can be: a value that the database refuses is the event's fault", async () => {
    const ran = await run(['a'], () => {
      throw Object.assign(new Error('invalid input syntax'), { code: '22P02' });
    });
    expect(failedLabels(ran)).toEqual(['a']);
  });
});

test('a batch that is delivered as it is costs one call, and asks nobody for the lease', async () => {
  const ran = await run(['a#1', 'a#2'], () => undefined);
  expect(ran.calls).toEqual([['a#1', 'a#2']]);
  expect(ran.leaseConfirmations).toBe(0);
  expect(ran.outcome).toEqual({ failed: [], heldBack: [] });
});
