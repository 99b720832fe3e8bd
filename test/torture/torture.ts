// One run, from an empty database to the verdict.

import { outboxMigrations } from '@pulsebox/outbox';
import { createPool, migrate, postgresMigrations } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { chaos } from './chaos.ts';
import { runChecks } from './checker.ts';
import { createFleet } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { pauseUntil } from './pause.ts';
import { plan } from './plan.ts';
import type { TortureOptions } from './plan.ts';
import { write, writeLarge, writeLast } from './producer.ts';
import type { ProducerOptions, Tally } from './producer.ts';
import { createWitnesses } from './schema.ts';
import { collectFigures } from './summary.ts';
import type { Report } from './summary.ts';

export interface TortureEnvironment {
  /** An empty database, for this run alone. */
  readonly databaseUrl: string;
  /** Where the workers' logs go. */
  readonly logFolder: string;
  /** Told what the run is at, a line at a time. */
  readonly onProgress?: (line: string) => void;
  /** Kills all workers and rejects the run. */
  readonly signal?: AbortSignal;
}

/** How long no event may arrive while some are missing, in milliseconds: many leases, and a slow machine. */
const PATIENCE_MS = 20_000;

/** Writes under torture, waits until the workers have caught up, and compares. */
export async function torture(options: TortureOptions, environment: TortureEnvironment): Promise<Report> {
  const { databaseUrl, logFolder, signal, onProgress = () => undefined } = environment;
  const connection = { connectionString: databaseUrl, application_name: 'torture' };
  await migrate(connection, [postgresMigrations, outboxMigrations]);
  const failures: Error[] = [];
  // An overtaken writer uses two connections.
  const pool = createPool({
    connection,
    max: 2 * options.writers + 4,
    onIdleError: (error) => failures.push(error),
  });
  const { mishaps, batchSizeOf, randomOfWriter, randomOfWorker } = plan(options);
  const fleet = createFleet({
    databaseUrl,
    logFolder,
    leaseTtlMs: options.leaseTtlMs,
    mutant: options.mutant,
    batchSizeOf,
    seedOf: (worker) => randomOfWorker(worker).integer(0, 2 ** 31),
  });
  const destroy = (): void => fleet.destroy();
  signal?.addEventListener('abort', destroy);
  process.once('exit', destroy);

  try {
    signal?.throwIfAborted();
    await createWitnesses(pool);
    for (let n = 0; n < options.workers; n += 1) fleet.start();
    await untilSomebodyReads(pool, fleet);

    onProgress(`writing for ${options.durationMs / 1_000} s, ${mishaps.length} mishaps planned`);
    const tally: Tally = { committed: 0, rolledBack: 0, savepointsRolledBack: 0, autocommitted: 0 };
    const over = AbortSignal.any([
      AbortSignal.timeout(options.durationMs),
      ...(signal === undefined ? [] : [signal]),
    ]);
    const producer: ProducerOptions = { pool, tally, pause: pauseUntil(over), favoured: options.favoured };
    await Promise.all([
      ...Array.from({ length: options.writers }, (_, writer) => write(producer, randomOfWriter(writer))),
      options.largeTransaction > 0 && writeLarge(producer, randomOfWriter(-1), options.largeTransaction),
      chaos(pool, fleet, { mishaps, pause: producer.pause }),
    ]);
    signal?.throwIfAborted();

    onProgress('waiting until the workers have caught up');
    const last = await writeLast(producer, randomOfWriter(-2));
    const caughtUp = await untilDelivered(pool, last, signal);
    await fleet.stop();
    signal?.throwIfAborted();

    onProgress('comparing');
    const [checks, figures, crashes] = [
      await runChecks(pool),
      await collectFigures(pool),
      await fleet.crashes(),
    ];
    const passed =
      caughtUp && crashes.length === 0 && failures.length === 0 && checks.every((check) => check.count === 0);
    return { options, tally, figures, checks, crashes, caughtUp, passed };
  } finally {
    signal?.removeEventListener('abort', destroy);
    process.off('exit', destroy);
    fleet.destroy();
    await pool.end();
  }
}

/** Events written before would not be late: they would merely be read from the start. */
async function untilSomebodyReads(pool: Pool, fleet: Fleet): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const { rows } = await pool.query(`select from torture.reign limit 1`);
    if (rows.length > 0) return;
    const crashes = await fleet.crashes();
    if (crashes.length > 0 || performance.now() > deadlineMs) {
      throw new Error(`no worker has begun to read\n${crashes.join('\n')}`);
    }
    await pause(20);
  }
}

/**
 * Nothing is open any more when the last event is written, so whoever delivers it has delivered everything before:
 * late events come first in a batch. False: deliveries have ceased.
 */
async function untilDelivered(
  pool: Pool,
  position: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let newest = 0;
  let newestAtMs = performance.now();
  while (performance.now() - newestAtMs < PATIENCE_MS) {
    signal?.throwIfAborted();
    const { rows } = await pool.query<{ done: boolean; newest: number }>(UNTIL_DELIVERED, [position]);
    if (rows[0]?.done) return true;
    if (rows[0] !== undefined && rows[0].newest > newest) {
      newest = rows[0].newest;
      newestAtMs = performance.now();
    }
    await pause(50);
  }
  return false;
}

/** $1 position. Indexes: delivery_position, delivery_pkey from its end. */
const UNTIL_DELIVERED = `
  select exists (select from torture.delivery where position = $1) as done,
         coalesce((select max(id) from torture.delivery), 0)::float8 as newest`;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
