import { createRegistry } from '@pulsebox/loop';
import { eventually } from '@pulsebox/test-support';
import { describe, expect, test } from 'vitest';
import { SinkError } from '../src/deliver/sink-error.ts';
import { emitAll } from '../src/log/emit.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { relayDesk } from './relay-desk.ts';
import { runRelay } from './relay-runner.ts';

const desk = relayDesk();
const { start, reading, commit, cursor, lease } = desk;

describe('delivery', () => {
  test('hands committed events over in order, and stores how far it came', async () => {
    const one = start({ batchSize: 2 });
    await reading(one);
    await commit('k#1', 'k#2', 'k#3', 'k#4', 'k#5');
    await eventually(() => one.handled.flat().length === 5);
    await one.stop();
    expect(one.handled).toEqual([['k#1', 'k#2'], ['k#3', 'k#4'], ['k#5']]);
    expect(one.errors).toEqual([]);
    const { delivered, batch } = await cursor(one);
    expect({ delivered, batch }).toEqual({ delivered: 5, batch: 3 });
  });

  test('carries on where it stopped', async () => {
    const first = start();
    await reading(first);
    await commit('k#1');
    await eventually(() => first.handled.length === 1);
    await first.stop();
    await commit('k#2');
    const second = start({ group: first.group, startFrom: 'beginning' });
    await eventually(() => second.handled.length === 1);
    expect(second.handled).toEqual([['k#2']]);
  });

  test('gives every group every event', async () => {
    const [one, two] = [start(), start()];
    await Promise.all([reading(one), reading(two)]);
    await commit('k#1', 'k#2');
    await eventually(() => one.handled.length === 1 && two.handled.length === 1);
    expect(one.handled).toEqual(two.handled);
  });

  test('starts a new group at the beginning of the log unless told otherwise', async () => {
    await commit('k#1');
    const { rows } = await desk.pool.query<{ n: number }>('select count(*)::int as n from outbox.event');
    const one = runRelay({ pool: desk.pool });
    desk.closeLater(() => one.stop());
    await eventually(() => one.handled.flat().length >= rows[0]!.n);
    expect(one.handled.flat()).toHaveLength(rows[0]!.n);
  });

  test('counts the time from writing to delivery', async () => {
    const registry = createRegistry();
    const one = start({ metrics: outboxMetrics(registry) });
    await reading(one);
    await commit('k#1', 'k#2');
    await eventually(() => one.handled.length === 1);
    await one.stop();
    expect(await registry.metrics()).toContain(`outbox_delivery_lag_seconds_count{group="${one.group}"} 2`);
  });

  test('refuses a group name that is none', async () => {
    const one = start({ group: 'Not A Name' });
    await eventually(() => one.errors.length > 0);
    expect(one.errors[0]).toMatchObject({ code: 'OUTBOX_GROUP_INVALID' });
    expect((one.errors[0] as Error).message).toBe('expected a group name such as "search", got "Not A Name"');
  });
});

describe('a handler that fails', () => {
  test('does not get what was read ahead before its failure', async () => {
    let fail = true;
    const writer = await desk.pool.connect();
    const one = start({
      batchSize: 2,
      pause: { firstMs: 10 },
      handler: async () => {
        if (!fail) return;
        fail = false;
        // Commits after the batch was read and while the next is read ahead: late for a fresh read only.
        await writer.query('commit');
        throw new SinkError('away', 'TEST_SINK_AWAY', 'once', { hint: 'wait' });
      },
    });
    try {
      await reading(one);
      await writer.query('begin');
      await emitAll(writer, [{ topic: 'test.written', key: 'l', payload: 'l#0' }]);
      await commit('k#1', 'k#2', 'k#3', 'k#4');
      await eventually(() => one.handled.flat().length === 5);
      expect(one.handled[0]).toEqual(['l#0', 'k#1']);
    } finally {
      writer.release();
    }
  });

  test('that is past its deadline is given its events again, also when it finished in the end', async () => {
    const deadline = new AbortController();
    let calls = 0;
    const one = start({
      tickSignal: () => (deadline.signal.aborted ? new AbortController().signal : deadline.signal),
      handler: (_labels, _batch, context) => {
        calls += 1;
        if (calls > 1) return;
        deadline.abort(new Error('too late'));
        expect(context.signal.aborted).toBe(true);
      },
    });
    await reading(one);
    await commit('k#1');
    await eventually(() => calls === 2);
    expect(one.errors).toEqual([expect.objectContaining({ message: 'too late' })]);
    await eventually(async () => (await cursor(one)).delivered === 1);
  });
});

describe('stop', () => {
  test('is safe before the first turn and as often as one likes', async () => {
    const one = runRelay({ pool: desk.pool });
    await Promise.all([one.loop.stop?.(), one.stop(), one.stop()]);
    await one.stop();
    expect(await lease(one)).toBeUndefined();
  });

  test('at any moment leaves no lease, no connection and no timer behind', async () => {
    const timersBefore = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    for (let round = 0; round < 40; round += 1) {
      const one = runRelay({ pool: desk.pool, startFrom: 'end', batchSize: 1 });
      await commit(`k#${round}`);
      for (let turns = 0; turns < round % 13; turns += 1)
        await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([one.stop(), one.stop()]);
      expect(await lease(one)).toBeUndefined();
      expect(desk.pool.idleCount).toBe(desk.pool.totalCount);
    }
    // Pooled connections have idle timers of their own; a renewal left behind would be one more a round.
    const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    expect(timers - timersBefore).toBeLessThan(25);
  });
});

test('obsolete cursor rows are removed as batches go by', async () => {
  const one = start({ batchSize: 1 });
  await reading(one);
  await commit(...Array.from({ length: 450 }, (_, n) => `k#${n}`));
  await eventually(() => one.handled.length === 450);
  await one.stop();
  const { rows } = await desk.pool.query<{ n: number }>(
    'select count(*)::int as n from outbox.cursor where group_name = $1',
    [one.group],
  );
  expect(rows[0]!.n).toBeLessThan(201);
  expect((await cursor(one)).delivered).toBe(450);
});
