// Emits at a fixed rate whatever becomes of it (open loop): a slow consumer cannot slow the producer down.

import { setTimeout as sleep } from 'node:timers/promises';
import { createPool, transaction } from '@pulsebox/postgres';
import type { Times } from './consume-live.ts';
import { contestantOf } from './contestant-of.ts';

export interface ProduceInput {
  readonly contestant: string;
  readonly url: string;
  readonly eventsPerSecond: number;
  readonly events: number;
}

const CONNECTIONS = 10;

/** One transaction an event; a thousand rows that somebody's business is kept in. */
const UPDATE_ACCOUNT = 'update account set balance = balance + 1 where id = $1';

/** When each COMMIT had returned. */
export default async function produce({
  contestant: name,
  url,
  eventsPerSecond,
  events,
}: ProduceInput): Promise<Times> {
  const { latency } = await contestantOf(name);
  if (latency === undefined) throw new Error(`${name} has no latency to measure`);
  const pool = createPool({
    connection: { connectionString: url },
    max: CONNECTIONS,
    onIdleError: console.error,
  });
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => pool.query('select pg_sleep(0.05)')));

  const times: [number, number][] = [];
  const one = async (id: number): Promise<void> => {
    await transaction(pool, async (client) => {
      await client.query(UPDATE_ACCOUNT, [id % 1_000]);
      await latency.emit(client, id);
    });
    times.push([id, performance.timeOrigin + performance.now()]);
  };

  const startedAtMs = performance.now();
  const sent: Promise<void>[] = [];
  while (sent.length < events) {
    const due = Math.min(
      events,
      Math.floor(((performance.now() - startedAtMs) / 1_000) * eventsPerSecond) + 1,
    );
    while (sent.length < due) sent.push(one(sent.length));
    await sleep(Math.max(1, startedAtMs + (sent.length / eventsPerSecond) * 1_000 - performance.now()));
  }
  await Promise.all(sent);
  await pool.end();
  return times;
}
