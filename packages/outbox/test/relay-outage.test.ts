// A relay whose database goes away, comes back, ends sessions, loses answers or stops to give any.

import { releaseLease } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { createWaker } from '../src/lane/waker.ts';
import { leaseOf, relayDesk } from './relay-desk.ts';
import { quiet } from './relay-runner.ts';

const desk = relayDesk();
const { start, reading, commit, cursor, takeOver, throughProxy } = desk;

test('a database away and back: the reader carries on by itself, and loses nothing', async () => {
  const { proxy, pool: proxied } = await throughProxy();
  const one = start({ pool: proxied, batchSize: 3 });
  await reading(one);
  await commit('k#1');
  // Handled is not stored: what was not comes again, after an outage.
  await eventually(async () => (await cursor(one)).delivered === 1);
  proxy.cut();
  await eventually(() => one.errors.length > 2);
  await commit('k#2', 'k#3', 'k#4', 'k#5');
  proxy.restore();
  await eventually(() => one.handled.flat().length >= 5);
  expect(one.handled.flat()).toEqual(['k#1', 'k#2', 'k#3', 'k#4', 'k#5']);
});

test('a database away for longer than the lease: it stands by, takes the lease again, and carries on', async () => {
  const { proxy, pool: proxied } = await throughProxy();
  const one = start({ pool: proxied, leaseTtlMs: 300 });
  await reading(one);
  proxy.cut();
  const token = await takeOver(one);
  await eventually(() => one.errors.length > 5);
  await commit('k#1');
  await releaseLease(desk.pool, { name: leaseOf(one), token });
  proxy.restore();
  await eventually(() => one.handled.length === 1);
  expect(one.handled).toEqual([['k#1']]);
});

test('a database that ends sessions: the reader carries on', async () => {
  const { pool: proxied } = await throughProxy();
  const one = start({ pool: proxied });
  await reading(one);
  for (let round = 1; round <= 5; round += 1) {
    await desk.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid()`,
    );
    await commit(`k#${round}`);
    await eventually(() => one.handled.flat().includes(`k#${round}`));
  }
  // A session may end between a batch and its store: that batch comes again, in its place.
  expect([...new Set(one.handled.flat())]).toEqual(['k#1', 'k#2', 'k#3', 'k#4', 'k#5']);
  expect(one.handled.flat()).toEqual(one.handled.flat().toSorted());
});

test('a database whose answer to a store is lost: what it stored is not delivered again, and the reader goes on', async () => {
  const { proxy, pool: proxied } = await throughProxy();
  const one = start({ pool: proxied });
  await reading(one);
  const lost = proxy.loseAnswerTo('insert into outbox.cursor');
  await commit('k#1');
  await lost;
  await eventually(async () => (await cursor(one)).delivered === 1);
  await commit('k#2');
  await eventually(() => one.handled.flat().includes('k#2'));
  expect(one.errors).toHaveLength(1);
  expect(one.handled.flat()).toEqual(['k#1', 'k#2']);
});

test('a database whose answers stop coming: turns end all the same, and the reader carries on when they come again', async () => {
  const { proxy, pool: proxied } = await throughProxy();
  const one = start({ pool: proxied, leaseTtlMs: 300 });
  await reading(one);
  await commit('k#1');
  // Handled is not stored: what was not comes again, after an outage.
  await eventually(async () => (await cursor(one)).delivered === 1);
  proxy.stall();
  await commit('k#2');
  await eventually(() => one.errors.length > 1);
  proxy.restore();
  await eventually(() => one.handled.flat().includes('k#2'));
  expect(one.handled.flat()).toEqual(['k#1', 'k#2']);
});

test('a database that takes LISTEN away: events are found by looking', async () => {
  const { proxy } = await throughProxy();
  const waker = createWaker({
    connection: { connectionString: proxy.url },
    log: quiet,
  });
  desk.closeLater(async () => waker.close());
  const one = start({ waker, pollMs: 50, idleWaitMs: 60_000 });
  await eventually(() => waker.state === 'listening');
  await reading(one);
  proxy.cut();
  await eventually(() => waker.state === 'lost');
  expect(one.loop.checks?.()).toMatchObject({
    listen: { status: 'degraded', detail: 'LISTEN connection lost; polling' },
  });
  await commit('k#1');
  await eventually(() => one.handled.length === 1);
  proxy.restore();
  await eventually(() => waker.state === 'listening');
  expect(one.loop.checks?.()).toMatchObject({ listen: { status: 'ok' } });
});
