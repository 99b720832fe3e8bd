// Producers that commit in two phases.

import { randomUUID } from 'node:crypto';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import type { PoolClient } from 'pg';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { announceSleep } from '../src/lane/sleep.ts';
import { logReader } from './log-reader.ts';

let database: TestDatabase;
let producer: PoolClient;

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  producer = await database.pool.connect();
});
afterEach(async () => {
  producer.release(true);
  await database.drop();
});

const EMIT = `insert into outbox.event (topic, payload) values ('t', '"prepared#1"')`;

test('an event of a prepared transaction is delivered when that is committed', async () => {
  const gid = randomUUID();
  const reader = logReader(database.pool);
  await producer.query(`begin; ${EMIT}; prepare transaction '${gid}'`);
  await database.pool.query(`select outbox.emit('t', '"other#1"')`);
  expect(await reader.drain()).toEqual(['other#1']);
  await producer.query(`commit prepared '${gid}'`);
  expect(await reader.drain()).toEqual(['prepared#1']);
});

test('PostgreSQL prepares no transaction that has woken a sleeping reader', async () => {
  await announceSleep(database.pool, 60_000);
  await producer.query(`begin; ${EMIT}`);
  await expect(producer.query(`prepare transaction '${randomUUID()}'`)).rejects.toThrow(
    /cannot PREPARE a transaction that has executed .*NOTIFY/,
  );
});

test('a producer that says so wakes nobody, and its transaction is prepared while readers sleep', async () => {
  await announceSleep(database.pool, 60_000);
  const gid = randomUUID();
  await producer.query(`begin; set local outbox.notify = off; ${EMIT}; prepare transaction '${gid}'`);
  await producer.query(`commit prepared '${gid}'`);
  expect(await logReader(database.pool).drain()).toEqual(['prepared#1']);
  // The setting ended with the transaction, and whatever it is left at is no error of an insert.
  await producer.query(`begin; ${EMIT}`);
  await expect(producer.query(`prepare transaction '${gid}'`)).rejects.toThrow(/cannot PREPARE/);
  await producer.query(`begin; set local outbox.notify = 'whatever'; ${EMIT}; commit`);
});
