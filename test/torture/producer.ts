// The writers: clients that behave in one way or another, transaction after transaction, until the run is over.

import type { Pool, PoolClient } from 'pg';
import { behaviours, large } from './behaviours.ts';
import type { Behaviour, BehaviourName, Turn } from './behaviours.ts';
import type { Pause } from './pause.ts';
import type { Random } from './random.ts';
import { SHARED_KEYS } from './schema.ts';
import { happenByItself } from './witnessed.ts';

/** What writers know of their own doing. What was committed is asked of the database. */
export interface Tally {
  committed: number;
  rolledBack: number;
  savepointsRolledBack: number;
  autocommitted: number;
  /** Connections cut while they wrote: whether what was under way is committed, their writers never learn. */
  cut: number;
}

export interface ProducerOptions {
  readonly pool: Pool;
  readonly pause: Pause;
  readonly tally: Tally;
  readonly favoured?: BehaviourName | undefined;
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
      if (!wasCut(error)) throw error;
      options.tally.cut += 1;
    }
  }
}

/** A transaction of very many events: first one that is rolled back, then one that counts. */
export async function writeLarge(options: ProducerOptions, random: Random, events: number): Promise<void> {
  await transact(options, random, { behaviour: large(Math.ceil(events / 10)), commits: false });
  await transact(options, random, { behaviour: large(events), commits: true });
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

/** By the server's word (admin_shutdown), or because the socket was closed before the answer came. */
function wasCut(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    ('code' in error && error.code === '57P01') || /connection terminated|not queryable/i.test(error.message)
  );
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
  const { pool, pause, tally } = options;
  await withClient(pool, async (client) => {
    let ended = false;
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
      savepointRolledBack: () => {
        tally.savepointsRolledBack += 1;
      },
      commitNow: () => end('commit'),
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

/** A client that had an error is not used again. */
async function withClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
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
