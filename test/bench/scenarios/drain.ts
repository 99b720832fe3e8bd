// How fast one worker process empties a backlog.

import { count, mib, percent, perSecond, range, ratio, seconds } from '../harness/figures.ts';
import { serverCpuSeconds } from '../harness/server-cpu.ts';
import { query } from '../harness/bench-server.ts';
import { runJob } from '../harness/child.ts';
import type { Contestant, Where } from '../harness/contestant.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { ConsumeInput, ConsumeOutput } from '../jobs/consume.ts';
import type { LoadInput } from '../jobs/load.ts';
import { contestant as bullmqPostgres } from '../contestants/bullmq-postgres.ts';
import { contestant as bullmqRedis } from '../contestants/bullmq-redis.ts';
import { contestant as graphileWorker } from '../contestants/graphile-worker.ts';
import { contestant as pgBoss } from '../contestants/pg-boss.ts';
import { contestant as pulsebox } from '../contestants/pulsebox.ts';
import { contestant as rawReadLoop } from '../contestants/raw-read-loop.ts';
import { contestant as skipLockedDelete } from '../contestants/skip-locked-delete.ts';

const EVENTS = 300_000;
const PEERS_FACTOR = 6;
const OF_RAW = 0.75;

/** The log is read in a second or two: many short looks, in turns, say more than a few. */
const READS_PER_REPETITION = 5;

const readers = [rawReadLoop, pulsebox];
const removers = [skipLockedDelete, pgBoss, graphileWorker, bullmqRedis, bullmqPostgres];

interface Run {
  readonly contestant: string;
  readonly events: number;
  readonly elapsedMs: number;
  readonly eventsPerSecond: number;
  readonly workerCpuSeconds: number;
  readonly serverCpuSeconds: number | undefined;
  readonly peakRssMiB: number;
  /** Row versions updated or deleted for each event, in all tables of its database; undefined on Redis. */
  readonly rowsRewrittenPerEvent: number | undefined;
}

export const drain: Scenario = {
  name: 'drain',
  summary: '300,000 events of 200 bytes through one worker process, beside every peer',
  async run(context): Promise<ScenarioReport> {
    const runs: Run[] = [];
    const logUrl = await prepareLog(context);
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (let look = 1; look <= READS_PER_REPETITION; look += 1) {
        // Now the one first, now the other: whoever comes second finds the machine as the first left it.
        for (const reader of look % 2 === 0 ? readers.toReversed() : readers) {
          runs.push(await consume(context, reader, { url: logUrl, run: `drain-${repetition}-${look}` }));
        }
      }
      for (const remover of removers) {
        const where = await place(context, remover, `drain-${repetition}`);
        if (where === undefined) continue;
        await load(context, remover, where);
        runs.push(await consume(context, remover, where));
      }
    }
    return report(context, runs);
  },
};

/** Both readers read the same table. */
async function prepareLog(context: ScenarioContext): Promise<string> {
  const where = { url: await context.server.freshDatabase('bench_log'), run: 'load' };
  await load(context, pulsebox, where);
  return where.url;
}

async function place(
  { server, redisUrl }: ScenarioContext,
  { name, needsRedis }: Contestant,
  run: string,
): Promise<Where | undefined> {
  if (needsRedis !== true) return { url: await server.freshDatabase(`bench_${name}`), run };
  return redisUrl === undefined ? undefined : { url: redisUrl, run };
}

async function load(context: ScenarioContext, contestant: Contestant, where: Where): Promise<void> {
  context.progress(`loading ${contestant.name}`);
  const input: LoadInput = { contestant: contestant.name, where, events: eventsFor(context, contestant) };
  await runJob('load', input);
  if (contestant.needsRedis !== true) await context.server.settle(where.url);
}

async function consume(context: ScenarioContext, contestant: Contestant, where: Where): Promise<Run> {
  const events = eventsFor(context, contestant);
  const rewrittenBefore = await rowsRewritten(contestant, where);
  const cpuBefore = await serverCpuSeconds(context.server.pid);
  const input: ConsumeInput = { contestant: contestant.name, where, events };
  const { output, usage } = await runJob<ConsumeOutput>('consume', input);
  const cpuAfter = await serverCpuSeconds(context.server.pid);
  const rewrittenAfter = await rowsRewritten(contestant, where);
  const eventsPerSecond = (events / output.elapsedMs) * 1_000;
  context.progress(`${contestant.name}: ${perSecond(eventsPerSecond)}`);
  return {
    contestant: contestant.name,
    events,
    elapsedMs: output.elapsedMs,
    eventsPerSecond,
    workerCpuSeconds: output.cpuSeconds,
    serverCpuSeconds:
      contestant.needsRedis === true || cpuBefore === undefined || cpuAfter === undefined
        ? undefined
        : cpuAfter - cpuBefore,
    peakRssMiB: usage.peakRssMiB,
    rowsRewrittenPerEvent:
      rewrittenBefore === undefined || rewrittenAfter === undefined
        ? undefined
        : (rewrittenAfter - rewrittenBefore) / events,
  };
}

/** Result: row versions that updates and deletes have left dead so far, in all tables. */
const ROWS_REWRITTEN = `
  select coalesce(sum(n_tup_upd + n_tup_del), 0)::float8 as n, pg_stat_force_next_flush() from pg_stat_user_tables`;

async function rowsRewritten({ needsRedis }: Contestant, { url }: Where): Promise<number | undefined> {
  if (needsRedis === true) return undefined;
  // A backend reports what it has counted when it ends at the latest; those of the worker have ended by now.
  return (await query<{ n: number }>(url, ROWS_REWRITTEN))[0]?.n;
}

function eventsFor({ scale }: ScenarioContext, { drain: lane }: Contestant): number {
  return Math.round((EVENTS * scale) / (lane?.fewer ?? 1));
}

function report(context: ScenarioContext, runs: readonly Run[]): ScenarioReport {
  const took = (contestant: Contestant): readonly Run[] =>
    runs.filter((run) => run.contestant === contestant.name);
  const speed = (contestant: Contestant): number =>
    median(took(contestant).map((run) => run.eventsPerSecond));
  const best = (contestant: Contestant): number =>
    Math.max(...took(contestant).map((run) => run.eventsPerSecond));
  const present = [...readers, ...removers].filter((contestant) => took(contestant).length > 0);
  const fastestPeer =
    present.filter(({ role }) => role === 'peer').toSorted((a, b) => speed(b) - speed(a))[0] ?? pgBoss;
  const overPeer = speed(pulsebox) / speed(fastestPeer);
  // Look by look, each beside its neighbour: what slowed the machine down slowed both.
  const rawRuns = took(rawReadLoop);
  const ofRaw = median(
    took(pulsebox).map((run, look) => run.eventsPerSecond / (rawRuns[look]?.eventsPerSecond ?? Number.NaN)),
  );
  return {
    title: `Drain: ${count(EVENTS * context.scale)} events, one worker process, a handler that does nothing`,
    goals: [
      {
        text: `drain: at least ${PEERS_FACTOR} × the fastest peer (${fastestPeer.label})`,
        measured: ratio(overPeer),
        met: overPeer >= PEERS_FACTOR,
      },
      {
        text: `drain: at least ${OF_RAW * 100} % of the raw read loop`,
        measured: percent(ofRaw),
        met: ofRaw >= OF_RAW,
      },
    ],
    tables: [
      {
        head: [
          'contestant',
          'Pulsebox is',
          'by the best runs',
          'median',
          'least - most',
          'worker CPU',
          'server CPU',
          'peak RSS',
          'rows rewritten an event',
        ],
        rows: present.map((contestant) => [
          contestant.label,
          contestant === pulsebox
            ? '-'
            : ratio(contestant === rawReadLoop ? ofRaw : speed(pulsebox) / speed(contestant)),
          contestant === pulsebox ? '-' : ratio(best(pulsebox) / best(contestant)),
          perSecond(speed(contestant)),
          range(
            took(contestant).map((run) => run.eventsPerSecond),
            perSecond,
          ),
          cpuPerMillion(took(contestant), (run) => run.workerCpuSeconds),
          cpuPerMillion(took(contestant), (run) => run.serverCpuSeconds),
          mib(median(took(contestant).map((run) => run.peakRssMiB))),
          median(took(contestant).map((run) => run.rowsRewrittenPerEvent ?? Number.NaN))
            .toFixed(2)
            .replace('NaN', '-'),
        ]),
      },
    ],
    notes: [
      '"Pulsebox is" tells how many times its throughput is that of the contestant: by the medians, and by the best run of each, which others on the machine disturb least. CPU is for a million events.',
      ...present.map(
        ({ label, setting, drain: lane }) =>
          `- ${label}: ${setting}${lane?.fewer === undefined ? '' : `; with 1/${lane.fewer} of the events`}.`,
      ),
      ...(context.redisUrl === undefined
        ? ['- BullMQ on Redis was skipped: no redis-server was found.']
        : []),
    ],
    data: {
      events: EVENTS * context.scale,
      overPeer,
      ofRaw,
      fastestPeer: fastestPeer.name,
      overSkipLocked: speed(pulsebox) / speed(skipLockedDelete),
      runs,
    },
  };
}

function cpuPerMillion(runs: readonly Run[], cpu: (run: Run) => number | undefined): string {
  const value = median(runs.map((run) => ((cpu(run) ?? Number.NaN) / run.events) * 1e6));
  return Number.isNaN(value) ? '-' : seconds(value);
}
