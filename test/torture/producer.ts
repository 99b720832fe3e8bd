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
    if (random.chance(AUTOCOMMITTED)) await autocommit(options, random);
    else
      await transact(options, random, {
        behaviour: draw(options, random),
        commits: !random.chance(ROLLED_BACK),
      });
  }
}

/** A transaction of very many events: first one that is rolled back, then one that counts. */
export async function writeLarge(options: ProducerOptions, random: Random, events: number): Promise<void> {
  await transact(options, random, { behaviour: large(Math.ceil(events / 10)), commits: false });
  await transact(options, random, { behaviour: large(events), commits: true });
}

/** An event after all others, in a transaction of its own. Returns its position. */
export async function writeLast(options: ProducerOptions, random: Random): Promise<number> {
  return await withClient(options.pool, async (client) => {
    const position = await happenByItself({ client, random, behaviour: 'the last' }, null);
    if (position === undefined) throw new Error('the last event has no position');
    return position;
  });
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
    const turn: Turn = {
      client,
      random,
      pause,
      behaviour: behaviour.name,
      savepointRolledBack: () => {
        tally.savepointsRolledBack += 1;
      },
      alongside: async (work) => {
        const inner = { ...behaviour, work };
        await transact(options, random, { behaviour: inner, commits: !random.chance(ROLLED_BACK) });
      },
    };
    await client.query('begin');
    await behaviour.work(turn);
    await client.query(commits ? 'commit' : 'rollback');
    if (commits) tally.committed += 1;
    else tally.rolledBack += 1;
  });
}

/** A writer that fails fails the run; its connection is not used again. */
async function withClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    const result = await work(client);
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
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
