import { createRegistry } from '@pulsebox/loop';
import type { Loop, TickContext } from '@pulsebox/loop';
import { acquireLease, createPool, renewLease } from '@pulsebox/postgres';
import { createTestDatabase, tcpProxy } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { emit } from '../src/log/emit.ts';
import { housekeeping } from '../src/upkeep/housekeeping.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { park } from './parked-rows.ts';
import { quiet } from './relay-runner.ts';

test('fails, does not hang, and shows no gauges while the database answers nothing; goes on when it answers again', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, 'read', 'beginning');
  const registry = createRegistry();
  const proxy = await tcpProxy(database.url);
  const connection = { connectionString: proxy.url, connectionTimeoutMillis: 500 };
  const pool = createPool({ connection, onIdleError: () => undefined });
  try {
    const loop = housekeeping({
      pool,
      holder: 'test',
      metrics: outboxMetrics(registry),
      everyMs: 500,
    });
    await expect(loop.tick(context)).resolves.toEqual({ events: 0, nextInMs: 500 });
    expect(await registry.metrics()).toContain('group="read"');
    proxy.stall();
    // On the connection at hand, then on one that is not made any more.
    await expect(loop.tick(context)).rejects.toThrow('no answer within 500 ms');
    // Nobody keeps them right now, and another process may be doing so.
    expect(await registry.metrics()).not.toContain('group="read"');
    await expect(loop.tick(context)).rejects.toThrow('timeout');
    proxy.restore();
    await expect(loop.tick(context)).resolves.toEqual({ events: 0, nextInMs: 500 });
  } finally {
    await pool.end();
    await proxy.close();
    await database.drop();
  }
});

const never = new AbortController().signal;
const context: TickContext = { signal: never, stopping: never, progress: () => undefined, log: quiet };

interface Housekeeper {
  readonly loop: Loop;
  metrics(): Promise<string>;
}

function housekeeper(
  pool: Pool,
  holder: string,
  options: { retentionLimitSeconds?: number } = {},
): Housekeeper {
  const registry = createRegistry();
  // Long enough for the lease to outlast the test.
  const loop = housekeeping({ pool, holder, metrics: outboxMetrics(registry), everyMs: 20_000, ...options });
  return { loop, metrics: () => registry.metrics() };
}

test('one of several sets the gauges of all groups, those that nobody reads included, until it stops', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  try {
    await registerGroup(database.pool, 'unread', 'beginning');
    await registerGroup(database.pool, 'at-the-end', 'beginning');
    const [one, two] = [housekeeper(database.pool, 'one'), housekeeper(database.pool, 'two')];
    await one.loop.tick(context);
    await two.loop.tick(context);
    await emit(database.pool, { topic: 't', payload: 1 }, { autocommit: true });
    await park(database.pool, { group: 'unread', position: 1 });
    await one.loop.tick(context);
    await two.loop.tick(context);
    expect(await one.metrics()).toContain('outbox_lag_events{group="unread"} 1');
    expect(await one.metrics()).toContain('outbox_parked_events{group="unread"} 0');
    expect(await one.metrics()).toContain('outbox_dead_letters{group="unread"} 1');
    expect(await one.metrics()).toMatch(/^outbox_stats_timestamp_seconds 1\.?\d+/m);
    expect(await two.metrics()).not.toMatch(/^outbox_(lag|oldest|retention|stats)/m);

    await one.loop.stop?.();
    expect(await one.metrics()).not.toMatch(/^outbox_(lag|oldest|retention|stats)/m);
    await two.loop.tick(context);
    expect(await two.metrics()).toContain('outbox_lag_events{group="unread"} 1');
    await two.loop.stop?.();
  } finally {
    await database.drop();
  }
});

test('one whose lease was taken over shows nothing any more', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  try {
    await registerGroup(database.pool, 'unread', 'beginning');
    const [one, two] = [housekeeper(database.pool, 'one'), housekeeper(database.pool, 'two')];
    await one.loop.tick(context);
    await database.pool.query(`update pulsebox.lease set expires_at = now() - interval '1 second'`);
    await two.loop.tick(context);
    await one.loop.tick(context);
    expect(await one.metrics()).not.toContain('group="unread"');
    expect(await two.metrics()).toContain('outbox_lag_events{group="unread"} 0');
  } finally {
    await database.drop();
  }
});

test('a group that is behind by more than the retention limit shows in the gauges and in the checks', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  try {
    await registerGroup(database.pool, 'dead', 'beginning');
    const { loop, metrics } = housekeeper(database.pool, 'one', { retentionLimitSeconds: 3_600 });
    await loop.tick(context);
    expect(loop.checks?.()).toEqual({ retention: { status: 'ok' } });
    await database.pool.query(
      `insert into outbox.event (topic, payload, created_at) values ('t', '1', now() - interval '2 hours')`,
    );
    await loop.tick(context);
    expect(await metrics()).toContain('outbox_retention_blocked{group="dead"} 1');
    expect(loop.checks?.()['retention']).toMatchObject({ status: 'degraded' });
  } finally {
    await database.drop();
  }
});

test('a log that is replaced under running workers by one of another cluster is read on, and their lanes are taken', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  try {
    await registerGroup(database.pool, 'g', 'beginning');
    const lease = { name: 'outbox/g/0', holder: 'a worker with a cursor in memory', ttlMs: 60_000 };
    const held = await acquireLease(database.pool, lease);
    if (!held.acquired) throw new Error('no lease');
    const { loop } = housekeeper(database.pool, 'one');
    await loop.tick(context);
    expect(await renewLease(database.pool, { ...lease, token: held.token })).toMatchObject({ renewed: true });
    // What a restore over this database leaves behind: the identifier of the cluster that the dump came from.
    await database.pool.query('update outbox.setting set system_identifier = 1');
    await loop.tick(context);
    expect(await renewLease(database.pool, { ...lease, token: held.token })).toEqual({
      renewed: false,
      reason: 'fenced',
    });
    const { rows } = await database.pool.query('select from outbox.setting where system_identifier = 1');
    expect(rows).toEqual([]);
    await loop.stop?.();
  } finally {
    await database.drop();
  }
});

test('cuts the next partition while another one keeps house, and leaves the log alone for a while when it is busy', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  try {
    await housekeeper(database.pool, 'elected').loop.tick(context);
    const { loop } = housekeeper(database.pool, 'another');
    await database.pool.query(`select setval('outbox.event_seq', 25000000)`);
    const report = await database.pool.connect();
    await report.query('begin; select count(*) from outbox.event');
    await loop.tick(context);
    await report.query('commit');
    report.release();
    const beyond = `select from outbox.partition where upper_bound = 40000000`;
    await loop.tick(context);
    expect((await database.pool.query(beyond)).rows).toEqual([]);
    await housekeeper(database.pool, 'a third').loop.tick(context);
    expect((await database.pool.query(beyond)).rows).toHaveLength(1);
  } finally {
    await database.drop();
  }
});
