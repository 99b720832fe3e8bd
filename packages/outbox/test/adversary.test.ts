// Everything at once to what is parked: handlers that fail, redrives, replays, discards, changes of lanes, workers that
// come, go and are killed. Nothing is lost, no key is overtaken, and no two of them wait for each other for ever.

import { createTestDatabase, eventually, runProgram } from '@pulsebox/test-support';
import type { Program, TestDatabase } from '@pulsebox/test-support';
import { openJobs } from '@pulsebox/jobs';
import { createPool } from '@pulsebox/postgres';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { discardDead } from '../src/dead/dead-discard.ts';
import { replayDead } from '../src/dead/dead-replay.ts';
import { registerGroup } from '../src/group/consumer-group.ts';
import { groupStatus } from '../src/group/group-status.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { quiet, runRelay } from './relay-runner.ts';
import type { RunningRelay } from './relay-runner.ts';

const GROUP = 'besieged';
const KEYS = 24;
const ROUNDS = 6;

let database: TestDatabase;

// For each try: it starts with nothing in the log.
beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await database.drop();
});

async function write(from: number, to: number): Promise<string[]> {
  const labels = Array.from({ length: to - from + 1 }, (_, n) => `k${(from + n) % KEYS}#${from + n}`);
  await emitAll(
    database.pool,
    labels.map((label) => ({ topic: 't.e', key: label.split('#')[0]!, payload: label })),
    { autocommit: true },
  );
  return labels;
}

function killable(): Program {
  return runProgram('packages/outbox/test/fixtures/fickle-worker.ts', {
    env: { FICKLE_WORKER: JSON.stringify({ databaseUrl: database.url, group: GROUP }) },
  });
}

test('replays, discards, redrives, changes of lanes and kills at once lose nothing and overtake nothing', async () => {
  const { pool } = database;
  await registerGroup(pool, GROUP, 'beginning');
  const operators = createPool({
    connection: { connectionString: database.url },
    onIdleError: () => undefined,
  });
  const jobs = openJobs({ pool: operators, log: quiet });
  await pool.query('create table delivered (n bigserial, label text)');
  const written: string[] = [];
  const discarded = new Set<string>();
  const faults: unknown[] = [];
  const ended = new AbortController();

  async function keepDoing(work: (round: number) => Promise<void>): Promise<void> {
    for (let round = 0; !ended.signal.aborted; round += 1) {
      await work(round).catch((error: unknown) => faults.push(error));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const changes = [3, 1, 4, 2];
  const operating = [
    keepDoing(async () => {
      await replayDead(operators, { filter: { group: GROUP } });
    }),
    keepDoing(async () => {
      await replayDead(operators, { filter: { group: GROUP, key: 'k3' } });
    }),
    keepDoing(async () => {
      // One key at a time is given up, as its dead letter comes: what is behind it goes on.
      const { rows } = await operators.query<{ position: number; label: string }>(
        `select position::float8 as position, payload #>> '{}' as label from outbox.parked
         where group_name = $1 and state = 'dead' and key = 'k5' order by position limit 1`,
        [GROUP],
      );
      const [row] = rows;
      if (row === undefined) return;
      const report = await discardDead(operators, {
        filter: { ids: [{ group: GROUP, position: row.position }] },
      });
      if (report.discarded === 1) discarded.add(row.label);
    }),
    keepDoing(async (round) => {
      await resizeGroup({
        pool: operators,
        group: GROUP,
        lanes: changes[round % changes.length]!,
        holder: 'operator',
        timeoutMs: 30_000,
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }),
  ];

  const workers = [killable()];
  try {
    let worker = workers[0]!;
    for (let round = 0; round < ROUNDS; round += 1) {
      const from = written.length + 1;
      written.push(...(await write(from, from + 59)));
      const before = (await pool.query<{ n: string }>('select count(*) as n from delivered')).rows[0]!.n;
      await eventually(
        async () => {
          const { rows } = await pool.query<{ n: string }>('select count(*) as n from delivered');
          return Number(rows[0]!.n) > Number(before) + 10;
        },
        { message: `nothing is delivered any more: ${worker.output().slice(-2_000)}` },
      );
      worker.kill('SIGKILL');
      await worker.exited;
      worker = killable();
      workers.push(worker);
    }
    ended.abort();
    await Promise.all(operating);
    await eventually(
      async () => {
        await replayDead(operators, { filter: { group: GROUP } });
        const status = await groupStatus(operators);
        return status.every(({ lag, parked, dead }) => lag === 0 && parked === 0 && dead === 0);
      },
      { message: `it never ends: ${worker.output().slice(-2_000)}` },
    );
  } finally {
    ended.abort();
    await Promise.all(operating);
    for (const worker of workers) {
      worker.kill('SIGKILL');
      await worker.exited;
    }
    await jobs.stop();
    await operators.end();
  }

  const codes = faults.map((error) => (error as { code?: string }).code ?? String(error));
  // Two who want the lanes at once are told so; nobody is told of a deadlock.
  expect(codes.filter((code) => code !== 'OUTBOX_LANE_BUSY' && code !== 'OUTBOX_LEASE_LOST')).toEqual([]);

  const told = workers.flatMap((worker) => worker.log()).map(({ fault }) => String(fault));
  expect(told.filter((fault) => /deadlock|duplicate key|invalid|undefined/.test(fault))).toEqual([]);

  const { rows } = await pool.query<{ label: string }>('select label from delivered order by n');
  const firstOf = new Map<string, string[]>();
  const seen = new Set<string>();
  for (const { label } of rows) {
    if (seen.has(label)) continue;
    seen.add(label);
    const key = label.split('#')[0]!;
    firstOf.set(key, [...(firstOf.get(key) ?? []), label]);
  }
  expect(written.filter((label) => !seen.has(label) && !discarded.has(label))).toEqual([]);
  for (const [key, labels] of firstOf)
    expect(labels, key).toEqual(written.filter((label) => label.startsWith(`${key}#`) && seen.has(label)));
});

test('a group that is retired with parked events leaves nothing, and what stood behind does not come back', async () => {
  const group = 'retired';
  const { retireGroup } = await import('../src/group/retire-group.ts');
  const { pool } = database;
  const start = (fails: boolean): RunningRelay =>
    runRelay({
      pool,
      group,
      startFrom: 'end',
      maxAttempts: 2,
      retry: { firstMs: 1, longestMs: 1 },
      handler: (_labels, { events }) => ({
        failed: fails ? events.map(({ position }) => ({ position, reason: 'no', retryable: true })) : [],
      }),
    });
  await registerGroup(pool, group, 'end');
  const first = start(true);
  await write(10_001, 10_040);
  await eventually(async () => {
    const { rows } = await pool.query('select from outbox.parked where group_name = $1', [group]);
    return rows.length === 40;
  });
  await expect(retireGroup({ pool, group, holder: 'operator' })).rejects.toMatchObject({
    code: 'OUTBOX_LANE_BUSY',
  });
  await first.stop();
  await retireGroup({ pool, group, holder: 'operator' });
  const second = start(false);
  await eventually(async () => {
    const { rows } = await pool.query('select from outbox.consumer_group where name = $1', [group]);
    return rows.length === 1;
  });
  const labels = await write(10_041, 10_045);
  await eventually(() => second.handled.flat().length >= 5);
  expect(second.handled.flat()).toEqual(labels);
  await second.stop();
});
