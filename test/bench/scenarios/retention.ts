// Whether the log's disk stays flat at a million events an hour, in compressed time.

import { setTimeout as sleep } from 'node:timers/promises';
import { createPool } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { installLog } from '../contestants/event-log.ts';
import { startJob } from '../harness/child.ts';
import { count, mib, ms, percent } from '../harness/figures.ts';
import { PAYLOAD_SQL } from '../harness/payload.ts';
import type { Scenario, ScenarioReport } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';
import type { KeepHouseInput } from '../jobs/keep-house.ts';
import { makeRoom } from '../../../packages/outbox/src/log/partitions.ts';

/** An hour is this long here; everything that is measured in hours is shortened with it. */
const HOUR_SECONDS = 20;
const SHORTEST_HOUR_SECONDS = 3;
const EVENTS_AN_HOUR = 1_000_000;
const HOURS = 6;
const KEPT_HOURS = 1;
/** A quarter of an hour each: what is kept beyond its time is at most one of them, and the one in use. */
const PARTITIONS_AN_HOUR = 4;
const TRANSACTIONS_A_SECOND = 50;
const SAMPLES_AN_HOUR = 20;

/** At its end the log may be this much above where it was when the first partitions were dropped. */
const FLAT_WITHIN = 1.15;

/** Result: none. $1 how many. */
const PRODUCE = `
  insert into outbox.event (topic, key, payload)
  select 'bench.event', 'key:' || i % 1000, ${PAYLOAD_SQL} from generate_series(1, $1::int) i`;

/** Result: bytes of the log's partitions with their indexes, and how many there are. */
const SIZE = `
  select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::float8 / 1048576 as mib, count(*)::integer as partitions
  from pg_inherits where inhparent = 'outbox.event'::regclass`;

interface Sample {
  readonly hour: number;
  readonly mib: number;
  readonly partitions: number;
}

export const retention: Scenario = {
  name: 'retention',
  summary: "the log's disk at a million events an hour, an hour in twenty seconds",
  async run({ server, scale, progress }): Promise<ScenarioReport> {
    const eventsAnHour = Math.round(EVENTS_AN_HOUR * scale);
    const hourSeconds = Math.max(SHORTEST_HOUR_SECONDS, HOUR_SECONDS * scale);
    const url = await server.freshDatabase('bench_retention');
    await installLog(url);
    const partitionEvents = Math.max(1_000, Math.round(eventsAnHour / PARTITIONS_AN_HOUR));
    const pool = createPool({ connection: { connectionString: url }, max: 4, onIdleError: console.error });
    await shrinkPartitions(pool, partitionEvents);
    const input: KeepHouseInput = { url, keepSeconds: KEPT_HOURS * hourSeconds, partitionEvents };
    const keeper = startJob<number>('keep-house', input);
    await keeper.ready;
    const samples: Sample[] = [];
    const tookMs: number[] = [];
    const startedAtMs = performance.now();
    const hour = (): number => (performance.now() - startedAtMs) / 1_000 / hourSeconds;
    const producing = produce(pool, { until: HOURS, hour, eventsAnHour, hourSeconds, tookMs });
    while (hour() < HOURS) {
      await sleep((hourSeconds / SAMPLES_AN_HOUR) * 1_000);
      const { rows } = await pool.query<{ mib: number; partitions: number }>(SIZE);
      const now = rows[0];
      if (now !== undefined) samples.push({ hour: hour(), ...now });
      if (samples.length % SAMPLES_AN_HOUR === 0)
        progress(`hour ${hour().toFixed(1)}: ${mib(now?.mib ?? Number.NaN)}`);
    }
    const events = await producing;
    await pool.end();
    const { output: dropped } = await keeper.stop();
    return report({ samples, tookMs, events, dropped, hourSeconds });
  },
};

/** Those of a new log have room for ten million events each: as many hours. */
async function shrinkPartitions(pool: Pool, partitionEvents: number): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'outbox.event'::regclass`,
  );
  await pool.query(`drop table ${rows.map(({ name }) => name).join(', ')}`);
  await makeRoom(pool, partitionEvents);
}

interface Production {
  readonly until: number;
  hour(): number;
  readonly eventsAnHour: number;
  readonly hourSeconds: number;
  /** Each transaction adds how long it took, in milliseconds. */
  readonly tookMs: number[];
}

/** At the rate, whatever became of the last transaction: what falls behind is made up for. Result: how many events. */
async function produce(pool: Pool, production: Production): Promise<number> {
  const { until, hour, eventsAnHour, hourSeconds, tookMs } = production;
  const transactions = TRANSACTIONS_A_SECOND * hourSeconds * until;
  const each = Math.round((eventsAnHour * until) / transactions);
  let produced = 0;
  while (hour() < until) {
    if (produced < (hour() / until) * transactions * each) {
      const startedAtMs = performance.now();
      await pool.query(PRODUCE, [each]);
      tookMs.push(performance.now() - startedAtMs);
      produced += each;
    } else await sleep(2);
  }
  return produced;
}

interface Findings {
  readonly samples: readonly Sample[];
  readonly tookMs: readonly number[];
  readonly events: number;
  readonly dropped: number;
  readonly hourSeconds: number;
}

function report({ samples, tookMs, events, dropped, hourSeconds }: Findings): ScenarioReport {
  const peakOf = (from: number): number =>
    Math.max(
      ...samples.filter((sample) => sample.hour >= from && sample.hour < from + 1).map((one) => one.mib),
    );
  // The second hour is the first that ends with partitions being dropped; whatever comes after should be like it.
  const settled = Math.max(peakOf(1), peakOf(2));
  const growth = peakOf(HOURS - 1) / settled;
  const perHour = events / HOURS;
  return {
    title: `Retention: ${count(perHour)} events an hour, an hour in ${hourSeconds} s, kept for ${KEPT_HOURS}`,
    goals: [
      {
        text: `retention: the log's disk in hour ${HOURS} at most ${percent(FLAT_WITHIN - 1)} above hours 2 and 3`,
        measured: `${mib(settled)} → ${mib(peakOf(HOURS - 1))}, ${growth <= 1 ? '' : '+'}${percent(growth - 1)}`,
        met: growth <= FLAT_WITHIN && dropped > 0,
      },
    ],
    tables: [
      {
        head: ['hour', ...Array.from({ length: HOURS }, (_, n) => String(n + 1))],
        rows: [
          ['the most on disk', ...Array.from({ length: HOURS }, (_, n) => mib(peakOf(n)))],
          [
            'partitions',
            ...Array.from({ length: HOURS }, (_, n) =>
              String(
                Math.max(
                  ...samples
                    .filter(({ hour }) => hour >= n && hour < n + 1)
                    .map(({ partitions }) => partitions),
                ),
              ),
            ),
          ],
        ],
      },
    ],
    notes: [
      `Compressed: an hour's events come in ${hourSeconds} s, with partitions of a quarter of an hour, kept for an hour of the same kind, and housekeeping that looks every 250 ms instead of once a minute. Bytes are not compressed: they are those of ${count(perHour)} events. ${count(dropped)} partitions were dropped while ${TRANSACTIONS_A_SECOND} transactions a second wrote and a worker read; the slowest of them took ${ms(Math.max(...tookMs))}, the 99th percentile ${ms(percentile(tookMs, 99))}.`,
    ],
    data: {
      samples,
      events,
      dropped,
      hourSeconds,
      slowestMs: Math.max(...tookMs),
      p99Ms: percentile(tookMs, 99),
    },
  };
}
