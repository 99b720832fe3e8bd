// One run, from an empty database to the verdict.

import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { createPool, migrate, postgresMigrations } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { chaos, cutWriters, WRITER } from './chaos.ts';
import { runChecks } from './checker.ts';
import { createFleet } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { analyst, forgottenPreparedTransaction, idleWriter } from './holders.ts';
import { createNetwork } from './network.ts';
import type { Network } from './network.ts';
import { BEHIND_A_DEAD_ONE } from './parked-checks.ts';
import { patientQueries } from './patience.ts';
import { discardHalf, replayAll } from './operator.ts';
import { pauseUntil } from './pause.ts';
import { plan } from './plan.ts';
import type { Plan, TortureOptions } from './plan.ts';
import { decideOrphans, write, writeLarge, writeLast } from './producer.ts';
import type { Tally } from './producer.ts';
import { createWitnesses, groupNames } from './schema.ts';
import type { TortureServer } from './server.ts';
import { startSink } from './sink.ts';
import type { Sink } from './sink.ts';
import { collectFigures } from './summary.ts';
import type { Report } from './summary.ts';

export interface TortureEnvironment {
  /** An empty database, for this run alone. */
  readonly databaseUrl: string;
  /** The server that the database is on, if it may be killed. Undefined: no crashes. */
  readonly server?: TortureServer | undefined;
  /** Where the workers' logs go. */
  readonly logFolder: string;
  /** Told what the run is at, a line at a time. */
  readonly onProgress?: (line: string) => void;
  /** Kills all workers and rejects the run. */
  readonly signal?: AbortSignal;
}

/**
 * How long nothing may be delivered, parked or given up while something is missing, in milliseconds: the last event of all
 * may be one that kills its worker until it is found out, and machines are slow.
 */
const PATIENCE_MS = 45_000;
/** To find out an event that kills its worker for good. */
const LONG_ENOUGH_MS = 20_000;

/** Writes under torture, waits until the workers have caught up, and compares. */
export async function torture(options: TortureOptions, environment: TortureEnvironment): Promise<Report> {
  const { databaseUrl, server, logFolder, onProgress = ignore } = environment;
  const signal = environment.signal ?? new AbortController().signal;
  const connection = { connectionString: databaseUrl, application_name: 'torture' };
  await migrate(connection, [postgresMigrations, jobsMigrations, outboxMigrations]);
  const pool = createPool({ connection, onIdleError: ignore });
  const db = patientQueries(pool);
  const planned = plan(options, server !== undefined);
  const groups = groupNames(options.groups);
  const network = await createNetwork(databaseUrl);
  const sink = await startSink();
  const fleet = createFleet({
    databaseUrl: network.workersUrl,
    sinkUrl: sink.url,
    groups,
    logFolder,
    leaseTtlMs: options.leaseTtlMs,
    deadlineMs: options.deadlineMs,
    mutant: options.mutant,
    batchSizeOf: planned.batchSizeOf,
    clockOffsetMsOf: planned.clockOffsetMsOf,
    seedOf: (worker) => planned.randomOfWorker(worker).integer(0, 2 ** 31),
  });
  const destroy = (): void => fleet.destroy();
  signal.addEventListener('abort', destroy);
  process.once('exit', destroy);

  try {
    signal.throwIfAborted();
    await createWitnesses(pool);
    for (let n = 0; n < options.workers; n += 1) fleet.start();
    await untilAllAreRead(pool, fleet, groups.length);

    onProgress(`writing for ${options.durationMs / 1_000} s, ${planned.mishaps.length} mishaps planned`);
    const scene = { pool, db, server, network, sink, groups, fleet, planned, signal };
    const tally = await writeUnderTorture(options, scene);

    onProgress('waiting until the workers have caught up');
    tally.orphans = await decideOrphans(pool);
    const last = await writeLast(pool, planned.randomOfWriter(-1));
    const end = { position: last, groups: groups.length };
    let caughtUp = await untilDelivered(pool, end, signal);
    for (const command of [replayAll, discardHalf]) {
      if (!caughtUp) break;
      await command(pool);
      caughtUp = await untilDelivered(pool, end, signal);
    }
    await fleet.stop();

    onProgress('comparing');
    await analyse(pool);
    const checks = await runChecks(pool);
    const figures = await collectFigures(pool);
    const crashes = await fleet.crashes();
    const passed = caughtUp && crashes.length === 0 && checks.every((check) => check.count === 0);
    signal.throwIfAborted();
    return { options, tally, figures, checks, crashes, caughtUp, passed };
  } finally {
    signal.removeEventListener('abort', destroy);
    process.off('exit', destroy);
    fleet.destroy();
    await Promise.all([network.close(), sink.close()]);
    await pool.end();
  }
}

/**
 * What the tables hold, for the planner: it knows of them as they were when autovacuum last came by, if it ever did.
 * Looking for lost events among 100,000 took up to minutes then, and takes less than a second so.
 */
async function analyse(pool: Pool): Promise<void> {
  await pool.query(
    `analyze torture.emitted, torture.delivery, torture.refusal, torture.failed_call, torture.parking,
             torture.mishap, torture.reign, outbox.parked`,
  );
}

interface Scene {
  /** The way to the database that nothing befalls but a crash of the server. */
  readonly pool: Pool;
  /** The same, waiting for the server to be back. */
  readonly db: Queryable;
  readonly server: TortureServer | undefined;
  readonly network: Network;
  readonly sink: Sink;
  readonly groups: readonly string[];
  readonly fleet: Fleet;
  readonly planned: Plan;
  readonly signal: AbortSignal;
}

async function writeUnderTorture(options: TortureOptions, scene: Scene): Promise<Tally> {
  const { pool, db, network, planned, signal } = scene;
  const { mishaps, randomOfWriter } = planned;
  // An overtaken writer uses two connections. Their name singles them out for being cut off.
  const writers = createPool({
    connection: { connectionString: network.writersUrl, application_name: WRITER },
    max: 2 * options.writers,
    onIdleError: ignore,
  });
  const failed = new AbortController();
  const pause = pauseUntil(AbortSignal.any([AbortSignal.timeout(options.durationMs), failed.signal, signal]));
  const tally = newTally();
  const { favoured, largeTransaction, failing } = options;
  const trials = { groups: scene.groups, failing };

  const underWay = Array.from({ length: options.writers }, (_, n) =>
    write({ pool: writers, pause, tally, favoured, trials }, randomOfWriter(n)),
  );
  if (largeTransaction > 0) {
    underWay.push(writeLarge({ pool: writers, pause, tally, trials }, randomOfWriter(-2), largeTransaction));
  }
  const longEnough = options.durationMs >= LONG_ENOUGH_MS;
  underWay.push(chaos({ ...scene, pause, longEnough }, mishaps));
  if (options.mishaps === 'all') {
    const holder = { pool, pause, tally };
    underWay.push(
      cutWriters(db, pause, randomOfWriter(-3)),
      idleWriter(holder, randomOfWriter(-4)),
      analyst(holder),
      forgottenPreparedTransaction(holder, randomOfWriter(-5)),
    );
  }
  try {
    await Promise.all(underWay);
    signal.throwIfAborted();
    return tally;
  } finally {
    // Whatever failed, nobody goes on writing, and nobody stays frozen.
    failed.abort();
    await Promise.allSettled(underWay);
    await writers.end();
  }
}

function newTally(): Tally {
  return {
    committed: 0,
    rolledBack: 0,
    savepointsRolledBack: 0,
    autocommitted: 0,
    cut: 0,
    prepared: 0,
    orphans: 0,
  };
}

/** Events written before would not be late: they would merely be read from the start. */
async function untilAllAreRead(pool: Pool, fleet: Fleet, groups: number): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const { rows } = await pool.query(`select distinct group_name from torture.reign`);
    if (rows.length === groups) return;
    const crashes = await fleet.crashes();
    if (crashes.length > 0 || performance.now() > deadlineMs) {
      throw new Error(`no worker has begun to read\n${crashes.join('\n')}`);
    }
    await rest(20);
  }
}

/**
 * Result: how many groups have all their lanes at or behind position $1, no change of lanes under way, and nothing parked
 * that is still to be tried: it is dead, or stands behind what is. And how far everybody has come.
 * Indexes: consumer_group_pkey, cursor_pkey, parked_key, delivery_pkey and parking_pkey from their ends.
 */
const UNTIL_DELIVERED = `
  select (select count(*) from outbox.consumer_group g
          where g.resize_lanes is null
            and g.lanes = (select count(*) from outbox.lane_cursors(g.name, g.lanes) c
                           where c.position >= $1 and c.frozen_snapshot is null)
            and not exists (select from outbox.parked p
                            where p.group_name = g.name and p.state = 'parked' and not ${BEHIND_A_DEAD_ONE}))::float8 as groups,
         (coalesce((select max(id) from torture.delivery), 0)
            + coalesce((select max(id) from torture.parking), 0))::float8 as newest`;

/**
 * Nothing is open any more when the last event is written, so a lane that has passed it has delivered all of its own:
 * late events come first in a batch. False: deliveries have ceased.
 */
async function untilDelivered(
  pool: Pool,
  { position, groups }: { readonly position: number; readonly groups: number },
  signal: AbortSignal,
): Promise<boolean> {
  let newest = 0;
  let newestAtMs = performance.now();
  while (performance.now() - newestAtMs < PATIENCE_MS) {
    signal.throwIfAborted();
    const { rows } = await pool.query<{ groups: number; newest: number }>(UNTIL_DELIVERED, [position]);
    if (rows[0]?.groups === groups) return true;
    if (rows[0] !== undefined && rows[0].newest > newest) {
      newest = rows[0].newest;
      newestAtMs = performance.now();
    }
    await rest(50);
  }
  return false;
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function ignore(): void {
  // Of a connection that broke while idle: the pool makes another, and the next statement reports what is wrong.
}
