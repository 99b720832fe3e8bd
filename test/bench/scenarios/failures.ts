// What failing events cost those that do not fail: throughput with some of the keys refused, and their way back.

import { runJob } from '../harness/child.ts';
import { count, perSecond, percent, range, seconds } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { DrainWithFailuresInput, DrainWithFailuresOutput } from '../jobs/drain-with-failures.ts';
import type { LoadInput } from '../jobs/load.ts';

const EVENTS = 100_000;
const BATCH_SIZE = 500;

/** Of the thousand keys of the log. The first is what the others are held against. */
const cases = [
  { label: 'none fails', refuseEvery: 0, order: 'none' },
  { label: '1 % fail', refuseEvery: 100, order: 'none' },
  { label: '10 % fail', refuseEvery: 10, order: 'none' },
  { label: 'none fails, order kept', refuseEvery: 0, order: 'key' },
  { label: '1 % fail, order kept', refuseEvery: 100, order: 'key' },
  { label: '10 % fail, order kept', refuseEvery: 10, order: 'key' },
] as const;

type Case = (typeof cases)[number];

interface Measured extends DrainWithFailuresOutput {
  readonly label: Case['label'];
  readonly events: number;
}

export const failures: Scenario = {
  name: 'failures',
  summary: 'a drain of which 1 % and 10 % of the events fail, against none',
  async run(context): Promise<ScenarioReport> {
    const measured: Measured[] = [];
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (const one of repetition % 2 === 0 ? cases.toReversed() : cases)
        measured.push(await measure(context, one));
    }
    return report(context, measured);
  },
};

async function measure(
  { server, scale, progress }: ScenarioContext,
  { label, order, refuseEvery }: Case,
): Promise<Measured> {
  const events = Math.round(EVENTS * scale);
  const where = { url: await server.freshDatabase('bench_failures'), run: 'failures' };
  const load: LoadInput = { contestant: 'pulsebox', where, events };
  await runJob('load', load);
  await server.settle(where.url);
  const input: DrainWithFailuresInput = {
    url: where.url,
    group: where.run,
    events,
    batchSize: BATCH_SIZE,
    order,
    refuseEvery,
  };
  const { output } = await runJob<DrainWithFailuresOutput>('drain-with-failures', input);
  progress(
    `${label}: ${perSecond((events / output.passedMs) * 1_000)}, ${count(output.parked)} parked and redriven`,
  );
  return { label, events, ...output };
}

function report({ scale }: ScenarioContext, measured: readonly Measured[]): ScenarioReport {
  const of = (label: Case['label']): readonly Measured[] => measured.filter((run) => run.label === label);
  const speeds = (label: Case['label']): readonly number[] =>
    of(label).map(({ events, passedMs }) => (events / passedMs) * 1_000);
  return {
    title: `Failures: ${count(EVENTS * scale)} events of 1,000 keys, some keys refused`,
    goals: [],
    tables: [
      {
        head: [
          '',
          'of none failing',
          'median',
          'least - most',
          'worker CPU',
          'parked',
          'all delivered after',
        ],
        rows: cases.map(({ label, order }) => {
          const base = order === 'none' ? cases[0].label : cases[3].label;
          return [
            label,
            label === base ? '-' : percent(median(speeds(label)) / median(speeds(base))),
            perSecond(median(speeds(label))),
            range(speeds(label), perSecond),
            seconds(median(of(label).map((run) => run.cpuSeconds))),
            count(median(of(label).map((run) => run.parked))),
            median(of(label).map((run) => run.parked)) === 0
              ? '-'
              : seconds(median(of(label).map((run) => run.settledMs / 1_000))),
          ];
        }),
      },
    ],
    notes: [
      'The sink refuses every hundredth or tenth key until the cursor stands at the end of the log, which is what is timed; then it takes them, and all are delivered before the run counts. Each refused event is parked with its reason and a timer in pg-boss, by the transaction that stores the cursor. Where order is kept, one event of a refused key fails and the later ones are parked behind it, and come back one by one. All delivered after: from when the sink takes the keys again until nothing is parked; a first retry waits 2.5 to 5 s, and a second, of events that were tried meanwhile, 10 to 20 s.',
    ],
    data: measured,
  };
}
