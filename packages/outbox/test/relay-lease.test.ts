// What a relay does with its lease, and what becomes of a batch when it is lost.

import { acquireLease, releaseLease, requestHandover } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
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
  const one = start({ leaseTtlMs: 300, pollMs: 5_000 });
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
      ttlMs: 1_000,
    });
    expect(attempt).toMatchObject({ acquired: true });
  } finally {
    clearInterval(waking);
  }
});
