import { createRegistry } from '@pulsebox/loop';
import type { TickContext } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';
import { createTestDatabase, tcpProxy } from '@pulsebox/test-support';
import { expect, inject, test } from 'vitest';
import { housekeeping } from '../src/housekeeping.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { quiet } from './relay-runner.ts';

test('fails, and does not hang, while the database answers nothing; goes on when it answers again', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  const proxy = await tcpProxy(database.url);
  const connection = { connectionString: proxy.url, connectionTimeoutMillis: 500 };
  const pool = createPool({ connection, onIdleError: () => undefined });
  try {
    const loop = housekeeping({
      pool,
      holder: 'test',
      metrics: outboxMetrics(createRegistry()),
      everyMs: 500,
    });
    const never = new AbortController().signal;
    const context: TickContext = { signal: never, stopping: never, progress: () => undefined, log: quiet };

    await expect(loop.tick(context)).resolves.toEqual({ events: 0, nextInMs: 500 });
    proxy.stall();
    // On the connection at hand, then on one that is not made any more.
    await expect(loop.tick(context)).rejects.toThrow('no answer within 500 ms');
    await expect(loop.tick(context)).rejects.toThrow('timeout');
    proxy.restore();
    await expect(loop.tick(context)).resolves.toEqual({ events: 0, nextInMs: 500 });
  } finally {
    await pool.end();
    await proxy.close();
    await database.drop();
  }
});
