// Dead letters of events that their group has left behind.

import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { MARK_DEAD, markDead } from '../src/dead/dead-mark.ts';
import { replayDead } from '../src/dead/dead-replay.ts';
import { showDead } from '../src/dead/dead-show.ts';
import { emit } from '../src/log/emit.ts';
import type { OutboxEvent } from '../src/log/event.ts';
import { park } from './parked-rows.ts';
import { planOf } from './plan.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, 'push', 'beginning');
});
beforeEach(async () => {
  await database.pool.query('truncate outbox.parked');
});
afterAll(async () => {
  await database.drop();
});

const event: OutboxEvent = {
  position: 5_000_000,
  topic: 'push.requested',
  key: 'user:1',
  payload: { user_id: '1' },
  headers: { by: 'ann' },
  createdAt: new Date('2026-01-01T00:00:00Z'),
};

test('an event that the log still has is taken from there, to the digit', async () => {
  const { pool } = database;
  const position = await emit(
    pool,
    { topic: 'push.requested', key: 'user:9', payload: { user_id: '9' }, headers: { by: 'bob' } },
    { autocommit: true },
  );
  await pool.query(`update outbox.event set payload = '{"n": 12345678901234567890.12}' where seq = $1`, [
    position,
  ]);
  const outcome = await markDead(pool, {
    group: 'push',
    event: { ...event, position },
    reason: 'refused',
    headers: { 'push-replay': 'x' },
  });
  expect(outcome).toEqual({ marked: true });
  expect(await showDead(pool, { group: 'push', position })).toMatchObject({
    state: 'dead',
    key: 'user:9',
    attempts: 1,
    payloadJson: '{"n": 12345678901234567890.12}',
    headers: { by: 'bob', 'push-replay': 'x' },
    errors: [{ attempt: 1, reason: 'refused', retryable: false }],
  });
});

test('one whose partition is gone is kept as its handler got it', async () => {
  await markDead(database.pool, { group: 'push', event, reason: 'refused' });
  expect(await showDead(database.pool, { group: 'push', position: event.position })).toMatchObject({
    topic: event.topic,
    key: event.key,
    payloadJson: '{"user_id": "1"}',
    headers: event.headers,
    createdAt: expect.stringMatching(/^2026-01-01T00:00:00/) as string,
  });
  // It can be replayed like any other.
  const { replayed } = await replayDead(database.pool, { filter: { group: 'push' } });
  expect(replayed).toBe(1);
});

test('a dead letter has another reason added; one that is to be tried again stays so', async () => {
  await park(database.pool, { group: 'push', position: 1 });
  await park(database.pool, { group: 'push', position: 2, state: 'parked', dueIn: 60 });
  for (const position of [1, 2])
    await markDead(database.pool, { group: 'push', event: { ...event, position }, reason: 'refused too' });
  const { rows } = await database.pool.query(
    `select state, next_attempt_at is null as idle, errors #>> '{1,reason}' as reason from outbox.parked order by position`,
  );
  expect(rows).toEqual([
    { state: 'dead', idle: true, reason: 'refused too' },
    { state: 'parked', idle: false, reason: 'refused too' },
  ]);
});

test('one that its handler has in hand is left alone, and so is one that it is being given at this moment', async () => {
  await park(database.pool, { group: 'push', position: 3, state: 'parked', attempting: true });
  const options = { group: 'push', event: { ...event, position: 3 }, reason: 'refused' };
  expect(await markDead(database.pool, options)).toEqual({ marked: false, reason: 'under-way' });

  await park(database.pool, { group: 'push', position: 4, state: 'parked', dueIn: 0 });
  const claimer = await database.pool.connect();
  await claimer.query('begin');
  await claimer.query('update outbox.parked set attempting_since = now() where position = 4');
  const marking = markDead(database.pool, { ...options, event: { ...event, position: 4 } });
  await eventually(async () => {
    const { rows } = await database.pool.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  });
  await claimer.query('commit');
  claimer.release();
  expect(await marking).toEqual({ marked: false, reason: 'under-way' });
});

test('a history without end is cut short: the first error and the last ones stay', async () => {
  for (let n = 0; n < 130; n += 1)
    await markDead(database.pool, { group: 'push', event, reason: `refusal ${n}` });
  const { errors } = await showDead(database.pool, { group: 'push', position: event.position });
  expect(errors).toHaveLength(100);
  expect(errors[0]?.reason).toBe('refusal 0');
  expect(errors.at(-1)?.reason).toBe('refusal 129');
});

test('the event and the parked row are found by their keys', async () => {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    const { topic, key } = event;
    const plan = await planOf(client, MARK_DEAD, ['push', 7, topic, key, '{}', '{}', new Date(), 'x', '{}']);
    expect(plan.scannedTables).toEqual([]);
  } finally {
    await client.query('rollback');
    client.release();
  }
});
