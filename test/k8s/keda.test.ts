// KEDA's queries on a real log, as the role that the README makes for them.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPool } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import { expect, inject, onTestFinished, test } from 'vitest';
import { parse } from '../../scripts/k8s/render.ts';
import { K8S } from '../../scripts/k8s/targets.ts';

test('a role that may only read the log is enough, and sees how far a group is behind', async () => {
  const db = await createTestDatabase(inject('serverUrl'));
  // Roles are the server's, which other tests share.
  const role = `pulsebox_lag_${randomBytes(4).toString('hex')}`;
  const [, statements = ''] = /```sql\n([^]+?)```/.exec(readFileSync(join(K8S, 'README.md'), 'utf8')) ?? [];
  await db.pool.query(statements.replaceAll('pulsebox_lag', role).replace('…', 'lag'));
  onTestFinished(async () => {
    await db.pool.query(`drop owned by ${role}`);
    await db.pool.query(`drop role ${role}`);
    await db.drop();
  });
  await db.pool.query(`insert into outbox.consumer_group (name, lanes) values ('search', 2), ('push', 1)`);
  await db.pool.query(
    `insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling)
     select g, lane, 1, 1, 0, pg_current_snapshot(), pg_current_xact_id()
     from (values ('search', 0), ('search', 1), ('push', 0)) as c(g, lane)`,
  );
  await db.pool.query(`select outbox.emit('note.saved', '{}') from generate_series(1, 7)`);
  await db.pool.query(`update outbox.cursor set position = 5 where group_name = 'search'`);

  const url = new URL(db.url);
  url.username = role;
  url.password = 'lag';
  const client = createPool({
    connection: { connectionString: url.href },
    max: 1,
    onIdleError: () => undefined,
  });
  onTestFinished(() => client.end());
  const lags = new Map<string, number>();
  for (const { metadata, spec } of parse(
    readFileSync(join(K8S, 'components/keda/scaled-objects.yaml'), 'utf8'),
  )) {
    const [trigger] = spec?.triggers ?? [];
    const { rows } = await client.query<[string]>({
      text: trigger?.metadata['query'] ?? '',
      rowMode: 'array',
    });
    lags.set(metadata.name, Number(rows[0]?.[0]));
  }
  expect(Object.fromEntries(lags)).toEqual({ worker: 2, 'push-worker': 7 });
  await expect(client.query('delete from outbox.cursor')).rejects.toThrow(/permission denied/);
});
