// What has to hold on every server and behind every pooler that is supported, from an empty database on.

import { createLogger, createRegistry } from '@pulsebox/loop';
import type { Loop, TickContext } from '@pulsebox/loop';
import { createWaker, emit, housekeeping, outboxMetrics, relay, seekGroup } from '@pulsebox/outbox';
import { createPool, transaction } from '@pulsebox/postgres';
import { createSearch, shippedProjections } from '@pulsebox/search';
import { eventually, freePort, runProgram } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { expect, onTestFinished, test } from 'vitest';

export interface Place {
  /** What workers and producers use. */
  readonly url: string;
  /** The server itself, for LISTEN and migrations. */
  readonly directUrl: string;
}

const log = createLogger({ worker: 'test', level: 'silent' });
const never = new AbortController().signal;
const context: TickContext = { signal: never, stopping: never, progress: () => undefined, log };

/** Declares the tests; they build on one another, in this order. */
export function mainBehaviours(place: () => Place): void {
  const env = (): Record<string, string> => ({
    DATABASE_URL: place().url,
    DATABASE_DIRECT_URL: place().directUrl,
  });

  function openPool(max = 10): Pool {
    const connection = { connectionString: place().url, connectionTimeoutMillis: 5_000 };
    const pool = createPool({ connection, max, onIdleError: () => undefined });
    onTestFinished(() => pool.end());
    return pool;
  }

  async function pulsebox(...args: readonly string[]): Promise<{ code: number | null; output: string }> {
    const program = runProgram('packages/cli/src/main.ts', { args, env: env() });
    const { code } = await program.exited;
    return { code, output: program.output() };
  }

  /** A relay of the group `main`, turned until the test is over. */
  function startRelay(pool: Pool, holder: string, delivered: string[]): { stop(): Promise<void> } {
    const waker = createWaker({ connection: { connectionString: place().directUrl }, log });
    const loop = relay({
      pool,
      group: 'main',
      holder,
      waker,
      batchSize: 20,
      pollMs: 20,
      leaseTtlMs: 3_000,
      handler: async ({ events }) => void delivered.push(...events.map(({ payload }) => payload as string)),
    });
    const stopping = new AbortController();
    const turning = turn(loop, stopping.signal);
    const stop = async (): Promise<void> => {
      stopping.abort();
      await turning;
      await loop.stop?.();
      await waker.close();
    };
    onTestFinished(stop);
    return { stop };
  }

  test('migrates an empty database, and finds nothing left to do', async () => {
    const migrated = await pulsebox('migrate');
    expect(migrated.code, migrated.output).toBe(0);
    const checked = await pulsebox('migrate', '--check');
    expect(checked.code, checked.output).toBe(0);
  });

  test('delivers what was committed, late commits included, and nothing that was rolled back', async () => {
    const pool = openPool();
    const delivered: string[] = [];
    startRelay(pool, 'one', delivered);
    await transaction(pool, (client) => emit(client, { topic: 't', payload: 'first' }));
    await transaction(pool, async (client) => {
      await emit(client, { topic: 't', payload: 'rolled back' });
      throw new Error('no');
    }).catch(() => undefined);
    const late = await pool.connect();
    await late.query('begin');
    await emit(late, { topic: 't', payload: 'late' });
    await pool.query(`insert into outbox.event (topic, payload) values ('t', '"plain"')`);
    await eventually(() => delivered.includes('plain'));
    expect(delivered).toEqual(['first', 'plain']);
    await late.query('commit');
    late.release();
    await eventually(() => delivered.includes('late'));
    await pool.query(`select outbox.emit('t', '"last"')`);
    await eventually(() => delivered.includes('last'));
    expect(delivered).toEqual(['first', 'plain', 'late', 'last']);
  });

  test('hands a lane over when its reader stops, and takes it from one whose lease ran out', async () => {
    const pool = openPool();
    const one: string[] = [];
    const two: string[] = [];
    const three: string[] = [];
    const first = startRelay(pool, 'one', one);
    await pool.query(`select outbox.emit('t', '"a"')`);
    await eventually(() => one.includes('a'));
    startRelay(pool, 'two', two);
    await first.stop();
    await pool.query(`select outbox.emit('t', '"b"')`);
    await eventually(() => two.includes('b'));
    // As if its worker had been frozen: the token moves on, and what it stores is void.
    startRelay(pool, 'three', three);
    await eventually(async () => {
      await pool.query(
        `update pulsebox.lease set expires_at = now() - interval '1 second'
         where name = 'outbox/main/0' and holder = 'two'`,
      );
      const { rows } = await pool.query(
        `select from pulsebox.lease where name = 'outbox/main/0' and holder = 'three'`,
      );
      return rows.length > 0;
    });
    await pool.query(`select outbox.emit('t', '"c"')`);
    await eventually(() => three.includes('c') || two.includes('c'));
    expect([one, two, three].flat().filter((label) => label === 'a')).toEqual(['a']);
  });

  test('cuts partitions, and drops those that every group has passed', async () => {
    const pool = openPool();
    await pool.query(
      `drop table if exists outbox.event_until_20000000, outbox.event_until_30000000, outbox.event_overflow`,
    );
    await pool.query(`select setval('outbox.event_seq', greatest(10000000, nextval('outbox.event_seq')))`);
    const delivered: string[] = [];
    startRelay(pool, 'one', delivered);
    // A new one each time: after a look in vain the same one leaves the log alone for a minute.
    const housekeep = async (): Promise<void> => {
      const loop = housekeeping({
        pool,
        metrics: outboxMetrics(createRegistry()),
        keepSeconds: 0,
        partitionSize: 10,
      });
      await loop.tick(context);
      await loop.stop?.();
    };
    await pool.query('drop table if exists outbox.event_until_10000000');
    await housekeep();
    const oldest = async (): Promise<string | undefined> => {
      const { rows } = await pool.query<{ name: string }>(
        'select name from outbox.partition order by lower_bound limit 1',
      );
      return rows[0]?.name;
    };
    const first = await oldest();
    for (let n = 0; n < 25; n += 1) await pool.query(`select outbox.emit('t', '"dropped later"')`);
    await eventually(async () => {
      await pool.query(`select outbox.emit('t', '"and more"')`);
      await eventually(() => delivered.at(-1) === 'and more');
      await housekeep();
      return (await oldest()) !== first;
    });
  });

  test('seeks a group, and delivers again from there', async () => {
    const pool = openPool();
    const delivered: string[] = [];
    startRelay(pool, 'one', delivered);
    await pool.query(`select outbox.emit('t', '"again"')`);
    await eventually(() => delivered.includes('again'));
    await seekGroup({ pool, group: 'main', target: { to: 'beginning' }, holder: 'operator' });
    await eventually(() => delivered.filter((label) => label === 'again').length >= 2);
  });

  test('indexes for search in the worker itself, and leaves no bounds in sessions that others use', async () => {
    const pool = openPool();
    const search = createSearch({ pool, projections: shippedProjections() });
    const found = async (): Promise<number> => (await search.search('items', { query: 'porcel' })).total;
    const before = await found();
    const port = await freePort();
    const worker = runProgram('apps/worker/src/index.ts', {
      args: ['--loop'],
      env: { ...env(), WORKER_HEALTH_PORT: String(port), OUTBOX_LEASE_SECONDS: '5' },
    });
    await pool.query(
      `with item as (
         insert into app.items (org_id, canonical_id, name) values ('acme', gen_random_uuid(), 'Porcelain') returning item_id
       )
       select outbox.emit('item.upserted', jsonb_build_object('item_id', item_id)) from item`,
    );
    await eventually(async () => (await found()) === before + 1, {
      message: worker.output(),
    });
    const shown = await Promise.all(
      Array.from({ length: 8 }, () => pool.query<{ statement_timeout: string }>('show statement_timeout')),
    );
    expect(new Set(shown.map(({ rows }) => rows[0]?.statement_timeout))).toEqual(new Set(['0']));
    worker.kill('SIGTERM');
    expect(await worker.exited, worker.output()).toMatchObject({ code: 0 });
  });

  test('is found in order by the doctor', async () => {
    const { output } = await pulsebox('doctor', '--json');
    const { checks } = JSON.parse(output) as { checks: { check: string; status: string; message: string }[] };
    const failed = checks.filter(
      // No worker runs any more, and nobody reads the groups that the tests left.
      ({ check, status }) => status === 'fail' && !['workers', 'groups'].includes(check),
    );
    expect(failed).toEqual([]);
    expect(checks.find(({ check }) => check === 'notifications')).toMatchObject({ status: 'ok' });
  });
}

async function turn(loop: Loop, stopping: AbortSignal): Promise<void> {
  while (!stopping.aborted) {
    const result = await loop.tick({ ...context, stopping }).catch(() => ({ nextInMs: 20 }));
    await loop.rest?.(result?.nextInMs ?? 20, stopping);
  }
}
