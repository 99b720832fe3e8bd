// Drains a log of which some keys are refused until the whole of it has been passed, and taken after that.

import { setTimeout as sleep } from 'node:timers/promises';
import type { DeliveryOrder, Handler } from '@pulsebox/outbox';
import pg from 'pg';
import { runBenchWorker, stopThisWorker } from '../harness/bench-worker.ts';

export interface DrainWithFailuresInput {
  readonly url: string;
  readonly group: string;
  readonly events: number;
  readonly batchSize: number;
  readonly order: DeliveryOrder;
  /** Every so many-th key is refused; 0: none. */
  readonly refuseEvery: number;
}

export interface DrainWithFailuresOutput {
  /** From the first look until the cursor stood at the end of the log. */
  readonly passedMs: number;
  /** How many events were parked then. */
  readonly parked: number;
  /** From when the keys were taken again until nothing was parked. */
  readonly settledMs: number;
  /** CPU of this process until the cursor stood at the end, in seconds. */
  readonly cpuSeconds: number;
}

/** Result: whether the group has passed the log, and how many of its events are parked. $1 group, $2 how many events. */
const PROGRESS = `
  select coalesce((select max(position) from outbox.cursor where group_name = $1), 0) >= $2 as passed`;
const PARKED = 'select count(*)::integer as n from outbox.parked where group_name = $1';

/** Every so often it is asked whether the end is reached: the error of the figure. */
const LOOK_EVERY_MS = 10;

export default async function drainWithFailures(
  input: DrainWithFailuresInput,
): Promise<DrainWithFailuresOutput> {
  const { url, group, events, batchSize, order, refuseEvery } = input;
  let refusing = refuseEvery > 0;
  let startedAtMs = 0;
  let cpuAtStart = process.cpuUsage();
  let delivered = 0;

  const refused = (key: string | null): boolean =>
    refusing && Number(key?.slice('key:'.length)) % refuseEvery === 0;
  const handler: Handler = async ({ events: batch }) => {
    const failed = batch
      .filter(({ key }) => refused(key))
      .map(({ position }) => ({ position, reason: 'the sink refuses this key', retryable: true }));
    delivered += batch.length - failed.length;
    return { failed };
  };
  const worker = runBenchWorker({
    url,
    group,
    batchSize,
    order,
    handler: () => handler,
    onFirstTick(): void {
      cpuAtStart = process.cpuUsage();
      startedAtMs = performance.now();
    },
  });

  const client = new pg.Client({ connectionString: url });
  await client.connect();
  while (!(await client.query<{ passed: boolean }>(PROGRESS, [group, events])).rows[0]?.passed)
    await sleep(LOOK_EVERY_MS);
  const passedMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpuAtStart);
  const parked = await parkedOf(client, group);
  refusing = false;
  const takenAtMs = performance.now();
  while ((await parkedOf(client, group)) > 0) await sleep(10 * LOOK_EVERY_MS);
  const settledMs = performance.now() - takenAtMs;
  await client.end();
  stopThisWorker();
  await worker;
  if (delivered !== events) throw new Error(`expected ${events} events to be delivered, got ${delivered}`);
  return {
    passedMs,
    parked,
    settledMs,
    cpuSeconds: (user + system) / 1e6,
  };
}

async function parkedOf(client: pg.Client, group: string): Promise<number> {
  return (await client.query<{ n: number }>(PARKED, [group])).rows[0]?.n ?? Number.NaN;
}
