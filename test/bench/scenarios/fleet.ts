// What a fleet costs its database while there is nothing to do.

import { setTimeout as sleep } from 'node:timers/promises';
import { runMigrations } from 'graphile-worker';
import { quiet } from '../contestants/graphile-task.ts';
import { installLog } from '../contestants/event-log.ts';
import { query, serverSettings, startBenchServer } from '../harness/bench-server.ts';
import { startJob } from '../harness/child.ts';
import { bytes, percent, range, ratio } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { serverCpuSeconds } from '../harness/server-cpu.ts';
import { median } from '../harness/statistics.ts';
import type { ConsumeUntilStoppedInput } from '../jobs/consume-until-stopped.ts';
import type { IdlePeerInput } from '../jobs/idle-pg-boss.ts';

const PODS = 3;
const GROUPS = Array.from({ length: 10 }, (_, n) => `group-${n}`);
/** Rests have grown to their longest, and whatever is done once has been done. */
const SETTLE_MS = 12_000;
const WINDOW_MS = 20_000;
const SHORTEST_WINDOW_MS = 5_000;

const fleets = [
  { name: 'pulsebox', label: 'Pulsebox: 10 groups' },
  { name: 'pg-boss', label: 'pg-boss: a worker on each of 10 queues' },
  { name: 'graphile-worker', label: 'graphile-worker: 10 tasks, one queue for all' },
] as const;

type Fleet = (typeof fleets)[number]['name'];

interface Totals {
  readonly queries: number;
  readonly transactions: number;
  readonly wal_bytes: number;
}

interface Measured {
  readonly fleet: Fleet;
  readonly queriesPerSecond: number;
  readonly transactionsPerSecond: number;
  readonly walBytesPerSecond: number;
  readonly serverCpu: number | undefined;
  readonly podCpu: number | undefined;
  /** What is asked most, for whoever wants to know why. */
  readonly statements: readonly { readonly calls: number; readonly query: string }[];
}

/** Result: so far, in this database; WAL of the server. Without what measures. */
const TOTALS = `
  select (select coalesce(sum(calls), 0)::float8 from pg_stat_statements
          where dbid = d.datid and toplevel and query not like '%pg_stat_statements%') as queries,
         (d.xact_commit + d.xact_rollback)::float8 as transactions,
         (select wal_bytes::float8 from pg_stat_wal) as wal_bytes
  from pg_stat_database d where datname = current_database()`;

const MOST_CALLED = `
  select calls::float8 as calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 100) as query from pg_stat_statements
  where dbid = (select oid from pg_database where datname = current_database())
    and query not like '%pg_stat_statements%' order by calls desc limit 12`;

export const fleet: Scenario = {
  name: 'fleet',
  summary: 'an idle fleet of 10 groups on 3 pods: queries a second, WAL, CPU',
  async run(context): Promise<ScenarioReport> {
    // By itself: pg_stat_statements costs every query something, and WAL is counted for a whole server.
    const server = await startBenchServer({
      ...serverSettings,
      shared_preload_libraries: 'pg_stat_statements',
    });
    try {
      const measured: Measured[] = [];
      for (const { name } of fleets) {
        const url = await server.freshDatabase(`bench_fleet_${name}`);
        measured.push(...(await measure(context, name, { url, pid: server.pid })));
      }
      return report(context, measured);
    } finally {
      await server.stop();
    }
  },
};

async function measure(
  context: ScenarioContext,
  name: Fleet,
  { url, pid }: { readonly url: string; readonly pid: number },
): Promise<Measured[]> {
  const { repeat, progress } = context;
  await query(url, 'create extension pg_stat_statements');
  if (name === 'pulsebox') await installLog(url);
  if (name === 'graphile-worker') await runMigrations({ connectionString: url, logger: quiet });
  const pods = [];
  for (let pod = 0; pod < PODS; pod += 1) {
    const started = startPod(name, url);
    await started.ready;
    pods.push(started);
  }
  await sleep(SETTLE_MS);
  await query(url, 'select pg_stat_statements_reset()');
  await query(url, 'checkpoint');
  const measured: Measured[] = [];
  for (let repetition = 1; repetition <= repeat; repetition += 1) {
    const before = await totals(url);
    const cpuBefore = await serverCpuSeconds(pid);
    const podsBefore = await cpuOf(pods);
    const windowMs = windowOf(context);
    await sleep(windowMs);
    const cpuAfter = await serverCpuSeconds(pid);
    const podsAfter = await cpuOf(pods);
    const after = await totals(url);
    const aSecond = (of: (some: Totals) => number): number => ((of(after) - of(before)) / windowMs) * 1_000;
    const share = (from: number | undefined, to: number | undefined): number | undefined =>
      from === undefined || to === undefined ? undefined : ((to - from) / windowMs) * 1_000;
    const queriesPerSecond = aSecond((some) => some.queries);
    progress(`${name}: ${queriesPerSecond.toFixed(1)} queries/s`);
    measured.push({
      fleet: name,
      queriesPerSecond,
      transactionsPerSecond: aSecond((some) => some.transactions),
      walBytesPerSecond: aSecond((some) => some.wal_bytes),
      serverCpu: share(cpuBefore, cpuAfter),
      podCpu: share(podsBefore, podsAfter),
      statements: await query(url, MOST_CALLED),
    });
  }
  await Promise.all(pods.map((pod) => pod.stop()));
  return measured;
}

function startPod(name: Fleet, url: string): ReturnType<typeof startJob<unknown>> {
  const [group = '', ...furtherGroups] = GROUPS;
  const pulsebox: ConsumeUntilStoppedInput = { url, group, furtherGroups, batchSize: 500, sinkMs: 0 };
  const peer: IdlePeerInput = { url, queues: GROUPS };
  if (name === 'pulsebox') return startJob('consume-until-stopped', pulsebox);
  return startJob(name === 'pg-boss' ? 'idle-pg-boss' : 'idle-graphile', peer);
}

async function totals(url: string): Promise<Totals> {
  // A backend reports what it has counted now and then; one that asks reports its own.
  const found = (await query<Totals>(url, TOTALS))[0];
  if (found === undefined) throw new Error('no statistics');
  return found;
}

async function cpuOf(pods: readonly { readonly pid: number }[]): Promise<number | undefined> {
  const each = await Promise.all(pods.map(({ pid }) => serverCpuSeconds(pid)));
  return each.reduce<number | undefined>(
    (sum, one) => (sum === undefined || one === undefined ? undefined : sum + one),
    0,
  );
}

function windowOf({ scale }: ScenarioContext): number {
  return Math.max(SHORTEST_WINDOW_MS, WINDOW_MS * scale);
}

function report(context: ScenarioContext, measured: readonly Measured[]): ScenarioReport {
  const of = (name: Fleet, figure: (run: Measured) => number | undefined): number[] =>
    measured.filter((run) => run.fleet === name).map((run) => figure(run) ?? Number.NaN);
  const perSecond = (value: number): string => `${value.toFixed(1)}/s`;
  const share = (value: number): string => (Number.isNaN(value) ? '-' : percent(value));
  const queries = (name: Fleet): number => median(of(name, (run) => run.queriesPerSecond));
  return {
    title: `Fleet: ${PODS} pods, ${GROUPS.length} groups, nothing to do`,
    goals: [],
    tables: [
      {
        head: [
          '',
          'Pulsebox asks',
          'queries',
          'least - most',
          'transactions',
          'WAL',
          'of a core: server',
          'of a core: pods',
        ],
        rows: fleets.map(({ name, label }) => [
          label,
          name === 'pulsebox' ? '-' : ratio(queries('pulsebox') / queries(name)),
          perSecond(queries(name)),
          range(
            of(name, (run) => run.queriesPerSecond),
            perSecond,
          ),
          perSecond(median(of(name, (run) => run.transactionsPerSecond))),
          `${bytes(median(of(name, (run) => run.walBytesPerSecond)))}/s`,
          share(median(of(name, (run) => run.serverCpu))),
          share(median(of(name, (run) => run.podCpu))),
        ]),
      },
    ],
    notes: [
      `Windows of ${windowOf(context) / 1_000} s, ${SETTLE_MS / 1_000} s after the last pod has started, on a server by itself that counts statements. All run with their defaults: Pulsebox with LISTEN, every pod reading every group, metrics and housekeeping on; its peers with their own polls and upkeep.`,
    ],
    data: measured,
  };
}
