import { acquireLease, createPool, releaseLease, requestHandover } from '@pulsebox/postgres';
import { createRegistry } from '@pulsebox/loop';
import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy, TestDatabase } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { emitAll } from '../src/log/emit.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import type { StoredCursor } from '../src/lease/store-cursor.ts';
import { createWaker } from '../src/lane/waker.ts';
import { quiet, runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

let database: TestDatabase;
let pool: Pool;
const running: RunningRelay[] = [];
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  pool = database.pool;
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(async (one) => one.stop()));
  for (const close of closers.splice(0).toReversed()) await close();
  // A connection that a relay kept would starve the next test, and a worker in time.
  if (pool.idleCount !== pool.totalCount) throw new Error('a connection of the pool is still in use');
});
afterAll(async () => {
  await database.drop();
});

/** New groups start at the end, so that tests do not read each other's events. */
function start(options: Partial<RunOptions> = {}): RunningRelay {
  const one = runRelay({ pool, startFrom: 'end', ...options });
  running.push(one);
  return one;
}

async function reading(one: RunningRelay): Promise<void> {
  await eventually(async () => (await lease(one)) !== undefined && one.ticks() > 0);
}

async function commit(...labels: string[]): Promise<void> {
  const events = labels.map((label) => ({
    topic: 'test.written',
    key: label.split('#')[0]!,
    payload: label,
  }));
  await emitAll(pool, events, { autocommit: true });
}

function leaseName({ group }: { readonly group: string }): string {
  return laneLeaseName({ group, lane: 0 });
}

async function lease(of: { readonly group: string }): Promise<{ holder: string; token: number } | undefined> {
  const { rows } = await pool.query<{ holder: string; token: number }>(
    'select holder, token::float8 as token from pulsebox.lease where name = $1 and holder is not null',
    [leaseName(of)],
  );
  return rows[0];
}

async function cursor(of: { readonly group: string }): Promise<StoredCursor> {
  const stored = await loadCursor(pool, { group: of.group, lane: 0 });
  if (stored === undefined) throw new Error('no cursor');
  return stored;
}

/** Takes the lease away as another worker does when its time is over. */
async function takeOver(of: { readonly group: string }): Promise<number> {
  const name = leaseName(of);
  await pool.query(
    `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
    [name],
  );
  const attempt = await acquireLease(pool, { name, holder: 'thief', ttlMs: 60_000 });
  if (!attempt.acquired) throw new Error('not taken');
  return attempt.token;
}

async function throughProxy(): Promise<{ proxy: TcpProxy; pool: Pool }> {
  const proxy = await tcpProxy(database.url);
  const connection = { connectionString: proxy.url, connectionTimeoutMillis: 1_000 };
  const proxied = createPool({ connection, onIdleError: () => undefined });
  closers.push(
    async () => proxy.close(),
    async () => proxied.end(),
  );
  return { proxy, pool: proxied };
}

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
    const { rows } = await pool.query<{ n: number }>('select count(*)::int as n from outbox.event');
    const one = runRelay({ pool });
    running.push(one);
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
    const writer = await pool.connect();
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

describe('the lease', () => {
  test('lost in mid-batch aborts the handler, and stores nothing', async () => {
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

  test('taken over unnoticed fences the store: an error with a code, and nothing stored', async () => {
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

  test('lost while the reader rested: nothing is handed to its handler any more', async () => {
    const one = start({ leaseTtlMs: 300 });
    await reading(one);
    const token = await takeOver(one);
    const ticksThen = one.ticks();
    await eventually(() => one.ticks() > ticksThen + 20);
    await commit('k#1');
    await eventually(() => one.ticks() > ticksThen + 60);
    expect(one.handled).toEqual([]);
    // And it stands by for the lease, instead of taking itself for the reader.
    await releaseLease(pool, { name: leaseName(one), token });
    await eventually(() => one.handled.length === 1);
    expect(one.handled).toEqual([['k#1']]);
  });

  test('is taken by a standby as soon as the first reader stops', async () => {
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

  test('of a reader that died is taken when its time is over', async () => {
    const group = `g-${crypto.randomUUID()}`;
    await acquireLease(pool, { name: leaseName({ group }), holder: 'dead', ttlMs: 300 });
    const one = start({ group });
    await eventually(async () => (await lease({ group }))?.holder !== 'dead');
    await reading(one);
    expect(await lease({ group })).toMatchObject({ token: 2 });
  });

  test('is handed over to one who asks, and not taken back before that one has it', async () => {
    const one = start({ leaseTtlMs: 300, pollMs: 5_000 });
    await reading(one);
    const waking = setInterval(() => one.waker.wake(), 1);
    try {
      await eventually(async () => requestHandover(pool, { name: leaseName(one), wantedBy: 'the next one' }));
      await eventually(async () => (await lease(one)) === undefined, { everyMs: 1 });
      const ticksThen = one.ticks();
      await eventually(() => one.ticks() > ticksThen + 5);
      const attempt = await acquireLease(pool, {
        name: leaseName(one),
        holder: 'the next one',
        ttlMs: 1_000,
      });
      expect(attempt).toMatchObject({ acquired: true });
    } finally {
      clearInterval(waking);
    }
  });
});

describe('a database that fails', () => {
  test('away and back: the reader carries on by itself, and loses nothing', async () => {
    const { proxy, pool: proxied } = await throughProxy();
    const one = start({ pool: proxied, batchSize: 3 });
    await reading(one);
    await commit('k#1');
    await eventually(() => one.handled.length === 1);
    proxy.cut();
    await eventually(() => one.errors.length > 2);
    await commit('k#2', 'k#3', 'k#4', 'k#5');
    proxy.restore();
    await eventually(() => one.handled.flat().length >= 5);
    expect(one.handled.flat()).toEqual(['k#1', 'k#2', 'k#3', 'k#4', 'k#5']);
  });

  test('away for longer than the lease: it stands by, takes the lease again, and carries on', async () => {
    const { proxy, pool: proxied } = await throughProxy();
    const one = start({ pool: proxied, leaseTtlMs: 300 });
    await reading(one);
    proxy.cut();
    const token = await takeOver(one);
    await eventually(() => one.errors.length > 5);
    await commit('k#1');
    await releaseLease(pool, { name: leaseName(one), token });
    proxy.restore();
    await eventually(() => one.handled.length === 1);
    expect(one.handled).toEqual([['k#1']]);
  });

  test('that ends sessions: the reader carries on', async () => {
    const { pool: proxied } = await throughProxy();
    const one = start({ pool: proxied });
    await reading(one);
    for (let round = 1; round <= 5; round += 1) {
      await pool.query(
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

  test('whose answer to a store is lost: what it stored is not delivered again, and the reader goes on', async () => {
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

  test('whose answers stop coming: turns end all the same, and the reader carries on when they come again', async () => {
    const { proxy, pool: proxied } = await throughProxy();
    const one = start({ pool: proxied, leaseTtlMs: 300 });
    await reading(one);
    await commit('k#1');
    await eventually(() => one.handled.length === 1);
    proxy.stall();
    await commit('k#2');
    await eventually(() => one.errors.length > 1);
    proxy.restore();
    await eventually(() => one.handled.flat().includes('k#2'));
    expect(one.handled.flat()).toEqual(['k#1', 'k#2']);
  });

  test('that takes LISTEN away: events are found by looking', async () => {
    const { proxy } = await throughProxy();
    const waker = createWaker({
      connection: { connectionString: proxy.url },

      log: quiet,
    });
    closers.push(async () => waker.close());
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
});

describe('stop', () => {
  test('is safe before the first turn and as often as one likes', async () => {
    const one = runRelay({ pool });
    await Promise.all([one.loop.stop?.(), one.stop(), one.stop()]);
    await one.stop();
    expect(await lease(one)).toBeUndefined();
  });

  test('at any moment leaves no lease, no connection and no timer behind', async () => {
    const timersBefore = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    for (let round = 0; round < 40; round += 1) {
      const one = runRelay({ pool, startFrom: 'end', batchSize: 1 });
      await commit(`k#${round}`);
      for (let turns = 0; turns < round % 13; turns += 1)
        await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([one.stop(), one.stop()]);
      expect(await lease(one)).toBeUndefined();
      expect(pool.idleCount).toBe(pool.totalCount);
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
  const { rows } = await pool.query<{ n: number }>(
    'select count(*)::int as n from outbox.cursor where group_name = $1',
    [one.group],
  );
  expect(rows[0]!.n).toBeLessThan(201);
  expect((await cursor(one)).delivered).toBe(450);
});
