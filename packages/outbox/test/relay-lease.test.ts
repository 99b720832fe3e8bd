// What a relay does with its lease, and what becomes of a batch when it is lost.

import { acquireLease, releaseLease, requestHandover } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { emit } from '../src/log/emit.ts';
import { leaseOf, relayDesk } from './relay-desk.ts';

const desk = relayDesk();
const { start, reading, commit, cursor, lease, takeOver } = desk;

test('a lease lost in mid-batch aborts the handler, and stores nothing', async () => {
  const entered = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const one = start({
    leaseTtlMs: 300,
    handler: async (_labels, _batch, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve());
      entered.resolve();
      await aborted.promise;
    },
  });
  await reading(one);
  const before = await cursor(one);
  await commit('k#1');
  await entered.promise;
  await takeOver(one);
  await aborted.promise;
  await eventually(() => one.errors.length > 0);
  expect(one.errors[0]).toMatchObject({ code: 'POSTGRES_LEASE_EXPIRED' });
  expect(await cursor(one)).toEqual(before);
  expect(await lease(one)).toMatchObject({ holder: 'thief' });
});

test('a lease taken over unnoticed fences the store: an error with a code, and nothing stored', async () => {
  const entered = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const one = start({
    handler: async () => {
      entered.resolve();
      await go.promise;
    },
  });
  await reading(one);
  const before = await cursor(one);
  await commit('k#1');
  await entered.promise;
  await takeOver(one);
  go.resolve();
  await eventually(() => one.errors.length > 0);
  expect(one.errors).toEqual([expect.objectContaining({ code: 'OUTBOX_LEASE_LOST' })]);
  expect(await cursor(one)).toEqual(before);
});

test('a lease lost while the reader rested: nothing is handed to its handler any more', async () => {
  const one = start({ leaseTtlMs: 300 });
  await reading(one);
  const token = await takeOver(one);
  const ticksThen = one.ticks();
  await eventually(() => one.ticks() > ticksThen + 20);
  await commit('k#1');
  await eventually(() => one.ticks() > ticksThen + 60);
  expect(one.handled).toEqual([]);
  // And it stands by for the lease, instead of taking itself for the reader.
  await releaseLease(desk.pool, { name: leaseOf(one), token });
  await eventually(() => one.handled.length === 1);
  expect(one.handled).toEqual([['k#1']]);
});

test('a lease lost while a batch was read: it is not handed to the handler', async () => {
  const entered: unknown[] = [];
  const one = start({ leaseTtlMs: 900, handler: (labels) => void entered.push(labels) });
  await reading(one);
  const writer = await desk.pool.connect();
  const thief = await desk.pool.connect();
  try {
    await writer.query('begin');
    await emit(writer, { topic: 't', key: 'k', payload: 'k#1' });
    // The next read waits for this, and finds the event.
    await writer.query('lock table outbox.event in access exclusive mode');
    await waiting('outbox.event');
    // A renewal waits for this, and finds another's token.
    await thief.query('begin');
    await thief.query(
      `update pulsebox.lease set token = token + 1, holder = 'thief', expires_at = clock_timestamp() + interval '1 hour'
       where name = $1`,
      [leaseOf(one)],
    );
    await waiting('pulsebox.lease');
    await thief.query('commit');
    await eventually(async () => !(await isWaiting('pulsebox.lease')));
    await desk.pool.query('select');
    await writer.query('commit');
    const ticksThen = one.ticks();
    await eventually(() => one.ticks() > ticksThen + 5);
    expect(entered).toEqual([]);
  } finally {
    for (const client of [writer, thief]) {
      await client.query('rollback');
      client.release();
    }
  }
});

/** Whether a statement that names the table waits for a lock. */
async function isWaiting(table: string): Promise<boolean> {
  const { rowCount } = await desk.pool.query(
    `select from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and strpos(query, $1) > 0`,
    [table],
  );
  return (rowCount ?? 0) > 0;
}

async function waiting(table: string): Promise<void> {
  await eventually(async () => isWaiting(table), { message: `nobody waits for ${table}` });
}

test('a lease is taken by a standby as soon as the first reader stops', async () => {
  const first = start({ leaseTtlMs: 600_000 });
  await reading(first);
  const second = start({ group: first.group });
  await eventually(() => second.ticks() > 3);
  await commit('k#1');
  await eventually(() => first.handled.length === 1);
  await first.stop();
  await commit('k#2');
  await eventually(() => second.handled.length === 1);
  expect([first.handled, second.handled]).toEqual([[['k#1']], [['k#2']]]);
});

test('a lease of a reader that died is taken when its time is over', async () => {
  const group = `g-${crypto.randomUUID()}`;
  await acquireLease(desk.pool, { name: leaseOf({ group }), holder: 'dead', ttlMs: 300 });
  const one = start({ group });
  await eventually(async () => (await lease({ group }))?.holder !== 'dead');
  await reading(one);
  expect(await lease({ group })).toMatchObject({ token: 2 });
});

test('a lease is handed over to one who asks, and not taken back before that one has it', async () => {
  // Long enough that a slow machine hands it over, and does not lose it.
  const one = start({ leaseTtlMs: 3_000, pollMs: 5_000 });
  await reading(one);
  const waking = setInterval(() => one.waker.wake(), 1);
  try {
    await eventually(async () =>
      requestHandover(desk.pool, { name: leaseOf(one), wantedBy: 'the next one' }),
    );
    await eventually(async () => (await lease(one)) === undefined, { everyMs: 1 });
    const ticksThen = one.ticks();
    await eventually(() => one.ticks() > ticksThen + 5);
    const attempt = await acquireLease(desk.pool, {
      name: leaseOf(one),
      holder: 'the next one',
      ttlMs: 60_000,
    });
    expect(attempt).toMatchObject({ acquired: true });
  } finally {
    clearInterval(waking);
  }
});
