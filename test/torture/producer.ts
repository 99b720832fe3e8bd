// The writers: clients that behave in one way or another, transaction after transaction, until the run is over.

import type { Queryable } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import { behaviours, large } from './behaviours.ts';
import type { Behaviour, BehaviourName, Turn } from './behaviours.ts';
import type { Pause } from './pause.ts';
import type { Random } from './random.ts';
import { refusedToPrepare } from './holders.ts';
import { isConnectionError, patiently } from './patience.ts';
import { SHARED_KEYS } from './schema.ts';
import type { Trial, TrialOptions } from './trials.ts';
import { happenByItself, happenWith, lockKeys } from './witnessed.ts';

/** What writers know of their own doing. What was committed is asked of the database. */
export interface Tally {
  committed: number;
  rolledBack: number;
  savepointsRolledBack: number;
  autocommitted: number;
  /** Connections cut while they wrote: whether what was under way is committed, their writers never learn. */
  cut: number;
  /** Transactions that went through PREPARE TRANSACTION. */
  prepared: number;
  /** Of these, left undecided by writers that were cut off. */
  orphans: number;
}

export interface ProducerOptions {
  readonly pool: Pool;
  readonly pause: Pause;
  readonly tally: Tally;
  readonly favoured?: BehaviourName | undefined;
  readonly trials: TrialOptions;
}

/** The mean rest between two transactions of one writer. */
const REST_MS = 12;
const ROLLED_BACK = 0.15;
const AUTOCOMMITTED = 0.2;
/** How often the favoured behaviour is chosen before any is drawn. */
const FAVOURED = 0.7;

/** One writer. Resolves when the run is over and its last transaction has ended. */
export async function write(options: ProducerOptions, random: Random): Promise<void> {
  while (await options.pause(random.integer(1, 2 * REST_MS - 1))) {
    try {
      await writeOnce(options, random);
    } catch (error) {
      if (!isConnectionError(error)) throw error;
      options.tally.cut += 1;
    }
  }
}

/** A transaction of very many events: first one that is rolled back, then one that counts. */
export async function writeLarge(options: ProducerOptions, random: Random, events: number): Promise<void> {
  await patiently(() =>
    transact(options, random, { behaviour: large(Math.ceil(events / 10)), commits: false }),
  );
  await patiently(async () => {
    // Committed by an attempt that never learnt of it.
    const { rowCount } = await options.pool.query(
      `select from torture.emitted where behaviour = 'large' limit 1`,
    );
    if (rowCount === 0) await transact(options, random, { behaviour: large(events), commits: true });
  });
}

/** An event that costs a worker its deadline or its life, of a key that has others before and behind it, or of none. */
export async function writeDeadly(pool: Pool, random: Random, trial: Trial): Promise<void> {
  const key = random.chance(0.7) ? `key:${random.integer(1, SHARED_KEYS)}` : null;
  const turn = { random, behaviour: `deadly: ${trial.kind}` };
  await withClient(pool, async (client) => {
    await client.query('begin');
    if (key !== null) await lockKeys({ client, ...turn }, [key]);
    await happenWith({ client, ...turn }, key, trial);
    await client.query('commit');
  });
}

/** An event after all others, in a transaction of its own. Returns its position. */
export async function writeLast(pool: Pool, random: Random): Promise<number> {
  return await withClient(pool, async (client) => {
    const position = await happenByItself({ client, random, behaviour: 'the last' }, null);
    if (position === undefined) throw new Error('the last event has no position');
    return position;
  });
}

async function writeOnce(options: ProducerOptions, random: Random): Promise<void> {
  if (random.chance(AUTOCOMMITTED)) {
    await autocommit(options, random);
    return;
  }
  const behaviour = draw(options, random);
  await transact(options, random, { behaviour, commits: !random.chance(ROLLED_BACK) });
}

async function autocommit({ pool, tally }: ProducerOptions, random: Random): Promise<void> {
  const key = random.chance(0.5) ? `key:${random.integer(1, SHARED_KEYS)}` : null;
  await withClient(pool, (client) => happenByItself({ client, random, behaviour: 'autocommit' }, key));
  tally.autocommitted += 1;
}

async function transact(
  options: ProducerOptions,
  random: Random,
  { behaviour, commits }: { readonly behaviour: Behaviour; readonly commits: boolean },
): Promise<void> {
  const { pool, pause, tally, trials } = options;
  await withClient(pool, async (client) => {
    let ended = false;
    const prepare = async (gid: string): Promise<void> => {
      ended = true;
      try {
        await client.query(`prepare transaction '${gid}'`);
      } catch (error) {
        if (!refusedToPrepare(error)) throw error;
        tally.rolledBack += 1;
        return;
      }
      tally.prepared += 1;
      await pause(random.integer(5, 300));
      await client.query(`${commits ? 'commit' : 'rollback'} prepared '${gid}'`);
      if (commits) tally.committed += 1;
      else tally.rolledBack += 1;
    };
    const end = async (by: 'commit' | 'rollback'): Promise<void> => {
      ended = true;
      await client.query(by);
      if (by === 'commit') tally.committed += 1;
      else tally.rolledBack += 1;
    };
    const turn: Turn = {
      client,
      random,
      pause,
      behaviour: behaviour.name,
      trials,
      savepointRolledBack: () => {
        tally.savepointsRolledBack += 1;
      },
      commitNow: () => end('commit'),
      prepare,
      alongside: async (work) => {
        const inner = { ...behaviour, work };
        await transact(options, random, { behaviour: inner, commits: !random.chance(ROLLED_BACK) });
      },
    };
    await client.query('begin');
    await behaviour.work(turn);
    if (!ended) await end(commits ? 'commit' : 'rollback');
  });
}

/** Waits for a database that is away. A client that had an error is not used again. */
async function withClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await patiently(async () => await pool.connect());
  // Without a listener, a connection that is cut while it does nothing would end this process.
  client.on('error', ignore);
  try {
    const result = await work(client);
    client.off('error', ignore);
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/**
 * Decides about prepared transactions whose writers were cut off before they could. Result: how many there were.
 * The database keeps them, and their locks and xids, for as long as nobody does.
 */
export async function decideOrphans(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ gid: string }>(
    `select gid from pg_prepared_xacts where database = current_database()`,
  );
  for (const [n, { gid }] of rows.entries())
    await db.query(`${n % 2 === 0 ? 'commit' : 'rollback'} prepared '${gid}'`);
  return rows.length;
}

function ignore(): void {
  // The next statement on that connection reports the same.
}

const TOTAL_WEIGHT = behaviours.reduce((total, { weight }) => total + weight, 0);

function draw({ favoured }: ProducerOptions, random: Random): Behaviour {
  const favourite = behaviours.find(({ name }) => name === favoured);
  if (favourite !== undefined && random.chance(FAVOURED)) return favourite;
  const GRAIN = 1_000;
  let left = random.integer(0, TOTAL_WEIGHT * GRAIN - 1) / GRAIN;
  for (const behaviour of behaviours) {
    left -= behaviour.weight;
    if (left < 0) return behaviour;
  }
  throw new Error('no behaviour was drawn');
}
