import { eventually } from '@pulsebox/test-support';
import { boundedTransaction } from '@pulsebox/postgres';
import { describe, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { checkOverflow, makeRoom } from '../src/log/partitions.ts';
import { freshLog } from './fresh-log.ts';
import { logReader } from './log-reader.ts';
import { makeRoomOnceFree } from './room.ts';

const log = freshLog();
const { writer, commit } = log;

/** Names and bounds, in order. */
async function partitions(): Promise<string[]> {
  const { rows } = await log.database.pool.query<{ partition: string }>(
    `select name || ' ' || lower_bound || '-' || coalesce(upper_bound::text, '') as partition
     from outbox.partition order by lower_bound`,
  );
  return rows.map(({ partition }) => partition.replace('outbox.event_', ''));
}

async function stand(at: number): Promise<void> {
  await log.database.pool.query(`select setval('outbox.event_seq', $1)`, [at]);
}

/** Partitions of ten events in place of ten million: one in use, one ahead, and the overflow. */
async function smallPartitions(): Promise<void> {
  await log.database.pool.query(
    `drop table outbox.event_until_10000000, outbox.event_until_20000000, outbox.event_until_30000000,
                outbox.event_overflow`,
  );
  await makeRoomOnceFree(log.database.pool, 10);
  expect(await partitions()).toEqual(['until_10 0-10', 'until_20 10-20', 'overflow 20-']);
}

/** 40,000 events, 70 MB: more than is looked at under a lock. */
async function fillOverflow(): Promise<void> {
  await log.database.pool.query(
    `insert into outbox.event (topic, payload)
     select 't', to_jsonb((select string_agg(md5(n || '/' || m), '') from generate_series(1, 55) m))
     from generate_series(1, 40000) n`,
  );
}

test('a fresh log has room for 30 million events before its overflow, and making more does nothing', async () => {
  expect(await partitions()).toEqual([
    'until_10000000 0-10000000',
    'until_20000000 10000000-20000000',
    'until_30000000 20000000-30000000',
    'overflow 30000000-',
  ]);
  expect(await makeRoomOnceFree(log.database.pool)).toBe('enough');
});

test('a partition that was taken away before the overflow is made again, and no producer waits for it', async () => {
  await log.database.pool.query('drop table outbox.event_until_20000000, outbox.event_until_30000000');
  const making = await log.database.pool.connect();
  try {
    await making.query('begin');
    await making.query('select outbox.create_partitions(2)');
    await commit('k#1');
    await making.query('commit');
  } finally {
    making.release();
  }
  expect(await partitions()).toHaveLength(4);
  expect(await makeRoomOnceFree(log.database.pool)).toBe('enough');
});

test('the next partition is cut from the overflow while that is empty, well before it is needed', async () => {
  await smallPartitions();
  expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('enough');
  await stand(9);
  await commit('a#1');
  expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('cut');
  expect(await partitions()).toEqual(['until_10 0-10', 'until_20 10-20', 'until_30 20-30', 'overflow 30-']);
  expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('enough');
});

test('many workers at once make each partition once', async () => {
  await stand(25_000_000);
  const made = await Promise.all(Array.from({ length: 6 }, () => makeRoom(log.database.pool)));
  expect(made.filter((outcome) => outcome === 'cut')).toHaveLength(1);
  expect(await partitions()).toContain('until_40000000 30000000-40000000');
  await eventually(async () => (await makeRoomOnceFree(log.database.pool)) === 'enough');
  expect(await partitions()).toHaveLength(5);
});

test('a partition that was cut has what the log has: keys, checks, and room for late and new events', async () => {
  await stand(29_999_998);
  expect(await makeRoomOnceFree(log.database.pool)).toBe('cut');
  const [a, b] = [await writer(), await writer()];
  const reader = logReader(log.database.pool);
  await reader.drain();
  await a.emit('k#1', 'k#2', 'k#3');
  await b.emit('m#1');
  await b.commit();
  expect(await reader.read()).toEqual(['m#1']);
  await a.commit();
  expect(await reader.drain(1)).toEqual(['k#1', 'k#2', 'k#3']);
  const { rows } = await log.database.pool.query<{ constraints: string; indexes: number }>(
    `select array_agg(contype::text || conname order by conname) as constraints,
            (select count(*)::int from pg_index i where i.indrelid = c.conrelid) as indexes
     from pg_constraint c
     where conrelid in ('outbox.event_until_10000000'::regclass, 'outbox.event_until_40000000'::regclass,
                        'outbox.event_overflow'::regclass) and contype in ('c')
     group by conrelid`,
  );
  expect(rows).toHaveLength(3);
  expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(1);
  await expect(
    log.database.pool.query(
      `insert into outbox.event_until_40000000 (seq, topic, payload) values (1, 'a', '1')`,
    ),
  ).rejects.toThrow(/partition constraint/);
});

describe('with no worker to make partitions', () => {
  test('inserts go on, events are read in order, and the first worker gives the overflow its end', async () => {
    await smallPartitions();
    await registerGroup(log.database.pool, 'g', 'beginning');
    const labels = Array.from({ length: 57 }, (_, n) => `k#${n}`);
    for (const label of labels)
      await log.database.pool.query(`select outbox.emit('t', $1)`, [JSON.stringify(label)]);
    expect(await logReader(log.database.pool).drain(7)).toEqual(labels);
    const { rows } = await log.database.pool.query('select from outbox.event_overflow');
    expect(rows).toHaveLength(38);

    expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('cut');
    expect(await partitions()).toEqual(['until_10 0-10', 'until_20 10-20', 'until_60 20-60', 'overflow 60-']);
    expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('cut');
    expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('enough');
    expect(await partitions()).toContain('until_70 60-70');
    expect(await logReader(log.database.pool).drain(7)).toEqual(labels);
  });

  test('what was written to the overflow stays out of a cut while its transaction is open', async () => {
    await smallPartitions();
    await stand(25);
    const open = await writer();
    await open.emit('open#1');
    // What the cut would wait for holds the log, so nobody is made to stand behind it.
    expect(await makeRoom(log.database.pool, 10)).toBe('busy');
    await commit('other#1');
    await open.commit();
    expect(await makeRoomOnceFree(log.database.pool, 10)).toBe('cut');
    expect((await logReader(log.database.pool).drain()).toSorted()).toEqual(['open#1', 'other#1']);
  });

  test('a large overflow is checked first, while producers go on, and cut without looking at it again', async () => {
    await smallPartitions();
    await stand(29);
    await fillOverflow();
    expect(await makeRoomOnceFree(log.database.pool, 10_000)).toBe('unchecked');
    // Asked again before it is checked, it changes nothing.
    expect(await makeRoomOnceFree(log.database.pool, 10_000)).toBe('unchecked');
    const checking = boundedTransaction(log.database.pool, { statementMs: 60_000 }, async (db) => {
      await checkOverflow(db);
      await commit('meanwhile#1');
    });
    await checking;
    expect(await makeRoomOnceFree(log.database.pool, 10_000)).toBe('cut');
    // Room for two partitions beyond what was handed out when the check was announced.
    expect((await partitions()).slice(2)).toEqual(['until_60030 20-60030', 'overflow 60030-']);
    const { rows } = await log.database.pool.query(
      `select from pg_constraint where conname = 'event_overflow_end'`,
    );
    expect(rows).toEqual([]);
    await commit('after#1');
  });

  test('the end that is announced for a large overflow moves on before anything is refused', async () => {
    await smallPartitions();
    await stand(29);
    await fillOverflow();
    expect(await makeRoomOnceFree(log.database.pool, 1_000)).toBe('unchecked');
    await stand(41_500);
    expect(await makeRoomOnceFree(log.database.pool, 1_000)).toBe('unchecked');
    await stand(43_000);
    await commit('kept#1');
  });
});
