// How long after its COMMIT an event reaches its handler, at a rate that does not wait for it.

import { setTimeout as sleep } from 'node:timers/promises';
import { count, ms, range } from '../harness/figures.ts';
import { query } from '../harness/bench-server.ts';
import { runJob, startJob } from '../harness/child.ts';
import type { Contestant } from '../harness/contestant.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { percentile } from '../harness/statistics.ts';
import type { ConsumeLiveInput, Times } from '../jobs/consume-live.ts';
import type { LoadInput } from '../jobs/load.ts';
import type { ProduceInput } from '../jobs/produce.ts';
import { contestant as graphileWorker } from '../contestants/graphile-worker.ts';
import { contestant as graphileWorkerDirect } from '../contestants/graphile-worker-direct.ts';
import { contestant as pulsebox } from '../contestants/pulsebox.ts';

const contestants = [pulsebox, graphileWorker, graphileWorkerDirect];

const BUSY_PER_SECOND = 500;
/** An application at an ordinary hour: too many to fall asleep between them, too few to look for them closely. */
const STEADY_PER_SECOND = 50;
/** Slow enough that a reader falls asleep between two events. */
const QUIET_PER_SECOND = 10;
const RATES = [BUSY_PER_SECOND, STEADY_PER_SECOND, QUIET_PER_SECOND];
const DURATION_S = 20;
const SHORTEST_DURATION_S = 4;

/** The first second is for caches and compilers, of producer and consumer alike. */
const WARM_UP_S = 1;

const P50_GOAL_MS = 3;

/** $1 how many. What the producer's transactions are about, in every contestant's database. */
const CREATE_ACCOUNTS = `
  create table account as select i as id, 0 as balance from generate_series(0, 999) i`;
const KEY_ACCOUNTS = 'alter table account add primary key (id)';

interface Measured {
  readonly contestant: string;
  readonly eventsPerSecond: number;
  readonly repetition: number;
  readonly events: number;
  readonly lost: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export const latency: Scenario = {
  name: 'latency',
  summary: 'from COMMIT to the handler, open loop, at 500, at 50 and at 10 events a second',
  async run(context): Promise<ScenarioReport> {
    const measured: Measured[] = [];
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (const eventsPerSecond of RATES) {
        for (const contestant of contestants) {
          measured.push({ ...(await measure(context, contestant, eventsPerSecond)), repetition });
        }
      }
    }
    return report(context, measured);
  },
};

async function measure(
  context: ScenarioContext,
  { name }: Contestant,
  eventsPerSecond: number,
): Promise<Omit<Measured, 'repetition'>> {
  const where = { url: await context.server.freshDatabase(`bench_latency_${name}`), run: 'latency' };
  const schema: LoadInput = { contestant: name, where, events: 0 };
  await runJob('load', schema);
  await query(where.url, CREATE_ACCOUNTS);
  await query(where.url, KEY_ACCOUNTS);
  await context.server.settle(where.url);

  const live: ConsumeLiveInput = { contestant: name, where };
  const consumer = startJob<Times>('consume-live', live);
  await consumer.ready;
  const events = eventsPerSecond * (WARM_UP_S + durationSeconds(context));
  const production: ProduceInput = { contestant: name, url: where.url, eventsPerSecond, events };
  const { output: committed } = await runJob<Times>('produce', production);
  // Whatever takes longer than this is counted as lost.
  await sleep(2_000);
  const { output: handled } = await consumer.stop();

  const handledAtMs = new Map(handled);
  const counted = committed.filter(([id]) => id >= eventsPerSecond * WARM_UP_S);
  const latencies = counted.flatMap(([id, atMs]) => {
    const handledAt = handledAtMs.get(id);
    return handledAt === undefined ? [] : [handledAt - atMs];
  });
  const result = {
    contestant: name,
    eventsPerSecond,
    events: counted.length,
    lost: counted.length - latencies.length,
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
    maxMs: percentile(latencies, 100),
  };
  context.progress(`${name} at ${eventsPerSecond}/s: p50 ${ms(result.p50Ms)}, p99 ${ms(result.p99Ms)}`);
  return result;
}

function durationSeconds({ scale }: ScenarioContext): number {
  return Math.max(SHORTEST_DURATION_S, Math.round(DURATION_S * scale));
}

interface Summary extends Omit<Measured, 'repetition' | 'contestant'> {
  /** Of each repetition. */
  readonly p50sMs: readonly number[];
  readonly p99sMs: readonly number[];
}

function report(context: ScenarioContext, measured: readonly Measured[]): ScenarioReport {
  const of = ({ name }: Contestant, eventsPerSecond: number): Summary => {
    const runs = measured.filter((run) => run.contestant === name && run.eventsPerSecond === eventsPerSecond);
    const middle = (figure: (run: Measured) => number): number => percentile(runs.map(figure), 50);
    return {
      eventsPerSecond,
      events: middle((run) => run.events),
      lost: Math.max(...runs.map((run) => run.lost)),
      p50Ms: middle((run) => run.p50Ms),
      p50sMs: runs.map((run) => run.p50Ms),
      p99Ms: middle((run) => run.p99Ms),
      p99sMs: runs.map((run) => run.p99Ms),
      maxMs: Math.max(...runs.map((run) => run.maxMs)),
    };
  };
  const ours = of(pulsebox, BUSY_PER_SECOND);
  // Whichever of its two settings does better here.
  const theirs = Math.min(
    of(graphileWorker, BUSY_PER_SECOND).p99Ms,
    of(graphileWorkerDirect, BUSY_PER_SECOND).p99Ms,
  );
  return {
    title: `Latency: from COMMIT to the handler, open loop, ${durationSeconds(context)} s each`,
    goals: [
      {
        text: `latency: median at most ${P50_GOAL_MS} ms at ${BUSY_PER_SECOND} a second`,
        measured: ms(ours.p50Ms),
        met: ours.p50Ms <= P50_GOAL_MS,
      },
      {
        text: `latency: 99th percentile below graphile-worker's (${ms(theirs)})`,
        measured: `${ms(ours.p99Ms)}, ${((ours.p99Ms / theirs) * 100).toFixed(0)} %`,
        met: ours.p99Ms < theirs,
      },
    ],
    tables: [
      {
        head: [
          'contestant',
          'events/s',
          'p50',
          'least - most',
          'p99',
          'least - most',
          'max',
          'events',
          'lost',
        ],
        rows: RATES.flatMap((rate) =>
          contestants.map((contestant) => {
            const { p50Ms, p50sMs, p99Ms, p99sMs, maxMs, events, lost } = of(contestant, rate);
            return [
              contestant.label,
              String(rate),
              ms(p50Ms),
              range(p50sMs, ms),
              ms(p99Ms),
              range(p99sMs, ms),
              ms(maxMs),
              count(events),
              count(lost),
            ];
          }),
        ),
      },
    ],
    notes: [
      'p50 and p99 are medians over the repetitions, max is the worst of all. The time is taken in the producer right after COMMIT has returned and in the handler as it is called, in two processes on one clock; where an event is handled before the producer has heard of its own COMMIT, it is negative.',
      ...contestants.map(({ label, setting }) => `- ${label}: ${setting}.`),
    ],
    data: measured,
  };
}
