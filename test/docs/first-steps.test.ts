// docs/first-steps.md and the files of examples/ that it goes through.

import { readFileSync } from 'node:fs';
import { createTestDatabase, eventually, runProgram } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { blocks, root } from './documents.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

async function example(name: string, args: readonly string[] = []): Promise<string> {
  const program = runProgram(`examples/${name}`, { args, env: { DATABASE_URL: database.url } });
  expect(await program.exited, program.output()).toEqual({ code: 0, signal: null });
  return program.output();
}

async function events(): Promise<unknown[]> {
  const { rows } = await database.pool.query(
    'select seq::int as position, topic, payload from outbox.event order by seq',
  );
  return rows;
}

test('an event from SQL: the row is there, and its event names it', async () => {
  const [sql = ''] = blocks('docs/first-steps.md', 'sql');
  expect(await example('sql.ts', [sql])).toContain('position');
  const { rows } = await database.pool.query(`select item_id from app.items where name = 'Copper kettle'`);
  expect(rows).toHaveLength(1);
  expect(await events()).toMatchObject([{ topic: 'item.upserted', payload: rows[0] as object }]);
});

test('a group of one’s own gets what is emitted from then on, and sets aside what is bad', async () => {
  const mailer = runProgram('examples/mail-orders.ts', {
    args: ['--loop'],
    env: { DATABASE_URL: database.url, MAIL_ORDERS_HEALTH_PORT: '0', LOG_FORMAT: 'json' },
  });
  await mailer.says('"reading"');
  expect(await example('place-order.ts', ['nobody', '1'])).toContain('order 1: its event is at position');
  expect(await example('place-order.ts', ['Berta', '19'])).toContain('order 2: its event is at position');
  await mailer.says('mail sent');
  expect(mailer.output()).toContain('"customer":"Berta"');
  await eventually(async () => {
    const { rows } = await database.pool.query('select 1 from outbox.parked');
    return rows.length === 1;
  });
  mailer.kill('SIGTERM');
  expect(await mailer.exited).toEqual({ code: 0, signal: null });
});

test('the items to import have the form that docs/imports.md gives', () => {
  const lines = readFileSync(`${root}/examples/items.ndjson`, 'utf8').trim().split('\n');
  expect(lines).toHaveLength(5);
  for (const line of lines)
    expect(JSON.parse(line)).toEqual({
      canonical_id: expect.any(String),
      item: { name: expect.any(String), text: expect.any(String), price: expect.any(Number) },
    });
});
