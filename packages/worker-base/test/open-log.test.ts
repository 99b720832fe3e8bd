// The log as a worker opens it: what it leaves alone, and what it lives through.

import type { Jobs } from '@pulsebox/jobs';
import { createLogger, createRegistry, parseEnvironment } from '@pulsebox/loop';
import { dropOldestPartition, emitAll, registerGroup } from '@pulsebox/outbox';
import type { RetentionOutcome } from '@pulsebox/outbox';
import { acquireLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import { databaseVariables, openLog, outboxVariables } from '@pulsebox/worker-base';
import { expect, inject, test } from 'vitest';
import { withJobsUpkeep } from '../src/jobs-upkeep.ts';

const quiet = createLogger({ worker: 'test', level: 'silent' });

test('drops no partition of the log while a search index is rebuilt from it', {
  timeout: 400_000,
}, async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  const config = parseEnvironment(
    { ...databaseVariables, ...outboxVariables },
    { DATABASE_URL: database.url, OUTBOX_KEEP_HOURS: '0', OUTBOX_WORKER_LISTEN_NOTIFY: 'false' },
  );
  const { pool, retention, close } = openLog({
    context: { config, log: quiet, registry: createRegistry() },
    applicationName: 'test',
    migrations: [],
  });
  // Transactions of other tests, in other databases of the server, are in the way for a while.
  const drop = async (): Promise<RetentionOutcome> =>
    await eventually(async () => {
      const result = await dropOldestPartition(pool, retention);
      return result.outcome === 'open' || result.outcome === 'busy' ? undefined : result;
    });
  try {
    await database.pool.query(`select setval('outbox.event_seq', 10000000)`);
    expect(await drop()).toMatchObject({ outcome: 'behind', blockedBy: null });
    await emitAll(database.pool, [{ topic: 't.e', payload: 1 }], { autocommit: true });
    await registerGroup(database.pool, 'a', 'end');
    await acquireLease(database.pool, { name: 'search/reindex/items', holder: 'somebody', ttlMs: 600_000 });
    expect(await drop()).toEqual({ outcome: 'pinned', blockedBy: 'search/reindex/items' });
    await database.pool.query(
      `update pulsebox.lease set expires_at = now() where name = 'search/reindex/items'`,
    );
    expect(await drop()).toMatchObject({ outcome: 'dropped' });
  } finally {
    await close();
    await database.drop();
  }
});

test('beats while pg-boss is looked after, however long that takes', async () => {
  const beaten = Promise.withResolvers<void>();
  const loop = withJobsUpkeep({ name: 'housekeeping', cadenceMs: 1_000, tick: async () => undefined }, {
    maintain: () => beaten.promise,
  } as Partial<Jobs> as Jobs);
  const { signal } = new AbortController();
  await loop.tick({ signal, stopping: signal, progress: () => beaten.resolve(), log: quiet });
});
