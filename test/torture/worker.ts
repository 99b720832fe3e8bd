// A worker as an application would build one, on the real relay, whose sink is the table torture.delivery.

import { createLogger, runWorker } from '@pulsebox/loop';
import { createWaker, relay } from '@pulsebox/outbox';
import type { OutboxEvent } from '@pulsebox/outbox';
import { createPool } from '@pulsebox/postgres';
import { seededRandom } from './random.ts';
import { holderName } from './schema.ts';

/** What the parent hands over in TORTURE_WORKER, as JSON. */
export interface WorkerSettings {
  readonly number: number;
  readonly databaseUrl: string;
  readonly groups: readonly string[];
  readonly batchSize: number;
  readonly leaseTtlMs: number;
  readonly seed: number;
}

/** $1 positions, $2 keys, $3 counters, in the order of delivery; $4 worker, $5 fencing token, $6 batch, $7 group, $8 lane. */
const DELIVER = `
  insert into torture.delivery (position, key, counter, worker, token, batch, group_name, lane)
  select position, key, counter, $4, $5, $6, $7, $8
  from unnest($1::bigint[], $2::text[], $3::bigint[]) with ordinality as e(position, key, counter, n)
  order by n`;

const settings = JSON.parse(process.env['TORTURE_WORKER'] ?? '') as WorkerSettings;
const connection = { connectionString: settings.databaseUrl, application_name: `torture-${settings.number}` };
const log = createLogger({ worker: 'torture', level: 'debug' });
const pool = createPool({
  connection,
  // Two for each relay and one for its handler.
  max: 3 * settings.groups.length + 2,
  onIdleError: (error) => log.warn({ err: error }, 'idle connection lost'),
});
const waker = createWaker({ connection, log });
const random = seededRandom(settings.seed);
const batches = new Map<string, number>();

// A parent that is gone takes its workers with it.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.channel?.unref();

await runWorker({
  name: 'torture',
  version: '0.0.0',
  host: '127.0.0.1',
  port: 0,
  once: false,
  stalenessMultiplier: 10,
  drainMs: 10_000,
  log,
  loops: settings.groups.map((group) =>
    relay({
      pool,
      waker,
      group,
      holder: holderName(settings.number, process.pid),
      batchSize: settings.batchSize,
      leaseTtlMs: settings.leaseTtlMs,
      pollMs: 200,
      idleWaitMs: 500,
      // It heeds no abort: the worst that a handler can do to the log.
      handler: async ({ events, lane }, { fencingToken }) => {
        await dawdle(events.length);
        const batch = (batches.get(group) ?? 0) + 1;
        batches.set(group, batch);
        await pool.query(DELIVER, [
          events.map((event) => event.position),
          events.map((event) => event.key),
          events.map(counterOf),
          settings.number,
          fencingToken,
          batch,
          group,
          lane,
        ]);
        // Whoever dies here has delivered a batch and not stored its cursor.
        await dawdle(events.length);
      },
    }),
  ),
  close: async () => {
    await waker.close();
    await pool.end();
  },
});

/** Handlers are slow now and then, so that mishaps strike in their midst; a backlog is worked off in a hurry. */
async function dawdle(events: number): Promise<void> {
  if (!random.chance(events < settings.batchSize ? 0.4 : 0.02)) return;
  await new Promise((resolve) => setTimeout(resolve, random.integer(1, 40)));
}

function counterOf(event: OutboxEvent): number | null {
  return (event.payload as { readonly counter: number | null }).counter;
}
