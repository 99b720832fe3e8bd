// What lanes bring: the same backlog for one, two and four processes that share a group.

import { setTimeout as sleep } from 'node:timers/promises';
import { resizeGroup } from '@pulsebox/outbox';
import { createPool } from '@pulsebox/postgres';
import { query } from '../harness/bench-server.ts';
import { startJob } from '../harness/child.ts';
import { count, perSecond, percent, range, ratio } from '../harness/figures.ts';
import { PAYLOAD_SQL } from '../harness/payload.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import { installLog } from '../contestants/event-log.ts';
import type { ConsumeUntilStoppedInput, ConsumeUntilStoppedOutput } from '../jobs/consume-until-stopped.ts';

const LANES = [1, 2, 4] as const;
const GROUP = 'lanes';

/** What the group hands its events to, and how many there are: about four seconds' worth for one lane. */
const sinks = [
  { name: 'waits', label: 'a sink that takes 20 ms a batch', sinkMs: 20, events: 100_000, batchSize: 500 },
  { name: 'nothing', label: 'a handler that does nothing', sinkMs: 0, events: 300_000, batchSize: 1_000 },
] as const;

type Sink = (typeof sinks)[number];

interface Measured {
  readonly sink: Sink['name'];
  readonly lanes: number;
  readonly eventsPerSecond: number;
  /** Of the process that delivered the most, of all events: 1 / lanes when they share evenly. */
  readonly greatestShare: number;
}

/**
 * Result: none. $1 how many. One transaction: all readers see all of it in the same moment, that of its COMMIT. A
 * thousand keys, spread over the lanes by their hash.
 */
const FILL_AT_ONCE = `
  insert into outbox.event (topic, key, payload)
  select 'bench.event', 'key:' || i % 1000, ${PAYLOAD_SQL} from generate_series(1, $1::int) i`;

/** Result: how many workers hold lanes. $1 the beginning of the leases' names. */
const HOLDERS = `
  select count(distinct holder)::integer as n from pulsebox.lease
  where starts_with(name, $1) and expires_at > clock_timestamp()`;

export const lanes: Scenario = {
  name: 'lanes',
  summary: 'one group drained by 1, 2 and 4 processes, each with a lane',
  async run(context): Promise<ScenarioReport> {
    const measured: Measured[] = [];
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (const sink of sinks) {
        for (const lane of LANES) measured.push(await measure(context, sink, lane));
      }
    }
    return report(context, measured);
  },
};

async function measure(context: ScenarioContext, sink: Sink, laneCount: number): Promise<Measured> {
  const events = Math.round(sink.events * context.scale);
  const url = await context.server.freshDatabase('bench_lanes');
  await installLog(url);
  const input: ConsumeUntilStoppedInput = {
    url,
    group: GROUP,
    batchSize: sink.batchSize,
    sinkMs: sink.sinkMs,
  };
  const workers = Array.from({ length: laneCount }, () =>
    startJob<ConsumeUntilStoppedOutput>('consume-until-stopped', input),
  );
  await Promise.all(workers.map(({ ready }) => ready));
  await resize(url, laneCount);
  await until(
    async () => (await query<{ n: number }>(url, HOLDERS, [`outbox/${GROUP}/`]))[0]?.n === laneCount,
  );

  await query(url, FILL_AT_ONCE, [events]);
  const committedAtMs = performance.timeOrigin + performance.now();
  await until(async () => {
    const lag = await query<{ n: number }>(url, UNDELIVERED, [GROUP]);
    return lag[0]?.n === 0;
  });
  const ended = await Promise.all(workers.map((worker) => worker.stop()));
  const stored = ended.map(({ output }) => output.stored);
  const delivered = stored.map((moments) => moments.reduce((sum, [, many]) => sum + many, 0));
  const total = delivered.reduce((sum, many) => sum + many, 0);
  if (total !== events) throw new Error(`expected ${events} events to be delivered, got ${total}`);
  const lastAtMs = Math.max(...stored.flatMap((moments) => moments.map(([atMs]) => atMs)));
  const eventsPerSecond = (events / (lastAtMs - committedAtMs)) * 1_000;
  context.progress(`${sink.name}, ${laneCount} lane(s): ${perSecond(eventsPerSecond)}`);
  return {
    sink: sink.name,
    lanes: laneCount,
    eventsPerSecond,
    greatestShare: Math.max(...delivered) / total,
  };
}

/**
 * Result: how far the lane furthest behind has to go. $1 the group. A lane stores a walk over others' events once a
 * second: what it has delivered is stored at once.
 */
const UNDELIVERED = `
  select ((select coalesce(max(seq), 0) from outbox.event) - min(position))::float8 as n
  from (select max(position) as position from outbox.cursor where group_name = $1 group by lane) lanes`;

async function resize(url: string, laneCount: number): Promise<void> {
  if (laneCount === 1) return;
  const pool = createPool({ connection: { connectionString: url }, onIdleError: console.error });
  try {
    await resizeGroup({ pool, group: GROUP, lanes: laneCount, holder: 'bench' });
  } finally {
    await pool.end();
  }
}

const LOOK_EVERY_MS = 100;
const LONGEST_WAIT_MS = 120_000;

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + LONGEST_WAIT_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error('expected the lanes to settle within two minutes');
    await sleep(LOOK_EVERY_MS);
  }
}

function report(context: ScenarioContext, measured: readonly Measured[]): ScenarioReport {
  const of = (sink: Sink, laneCount: number): readonly Measured[] =>
    measured.filter((run) => run.sink === sink.name && run.lanes === laneCount);
  const speeds = (sink: Sink, laneCount: number): readonly number[] =>
    of(sink, laneCount).map((run) => run.eventsPerSecond);
  return {
    title: 'Lanes: one group, as many processes as lanes',
    goals: [],
    tables: sinks.map((sink) => ({
      head: [
        `${count(sink.events * context.scale)} events, ${sink.label}`,
        'of one lane',
        'median',
        'least - most',
        'greatest share of a process',
      ],
      rows: LANES.map((laneCount) => [
        `${laneCount} lane${laneCount === 1 ? '' : 's'}`,
        laneCount === 1 ? '-' : ratio(median(speeds(sink, laneCount)) / median(speeds(sink, 1))),
        perSecond(median(speeds(sink, laneCount))),
        range(speeds(sink, laneCount), perSecond),
        percent(median(of(sink, laneCount).map((run) => run.greatestShare))),
      ]),
    })),
    notes: [
      'The processes hold a lane each before the events come, all in one COMMIT; the clock runs from there to the last cursor stored. Each lane reads past the events of the others, so a handler that does nothing gains nothing from lanes on a machine whose cores are busy: lanes are for sinks that are waited for.',
    ],
    data: measured,
  };
}
