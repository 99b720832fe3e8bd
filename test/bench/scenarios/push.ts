// Push: the worker from the log to recorded deliveries, beside a plain loop of web-push, before the same push service.

import { appMigrations } from '@pulsebox/app-schema';
import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { generateVapidKeys, pushMigrations } from '@pulsebox/push';
import type { SubscriptionKeys, Vapid } from '@pulsebox/push';
import { browserKeys } from '@pulsebox/test-support';
import { query } from '../harness/bench-server.ts';
import { asDeployed } from '../harness/as-deployed.ts';
import { runJob, startJob } from '../harness/child.ts';
import { count, mib, ms, percent, perSecond, range, ratio } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { PushFloorInput } from '../jobs/push-floor.ts';
import type { PushPlainInput } from '../jobs/push-plain.ts';
import type { PushServiceInput, PushServiceSaid } from '../jobs/push-service.ts';
import type { PushWorkerInput, PushWorkerOutput } from '../jobs/push-worker.ts';

const LATENCY_MS = 20;
/** Key pairs take long to make: so many browsers have all the endpoints. */
const BROWSERS = 100;
const BROADCASTS = [10_000, 100_000] as const;
const VAPID: Vapid = { ...generateVapidKeys(), subject: 'mailto:push@pulsebox.example' };
const PAYLOAD = { title: 'Anna replied', body: 'See you at eight', url: '/threads/7', tag: 'thread-7' };

/** How many times as fast as a loop without, and as one with concurrency; deliveries for CPU; memory of a broadcast. */
const OVER_ONE = 5;
const OVER_FIFTY = 1.5;
const CPU_OVER_ONE = 3;
const FLAT_WITHIN = 1.15;

const contenders = [
  { name: 'pulsebox', label: 'Pulsebox: from the log, recorded', deliveries: 10_000 },
  { name: 'fifty', label: 'web-push, 50 at a time, agent kept alive', deliveries: 5_000 },
  { name: 'one', label: 'web-push, one at a time', deliveries: 300 },
] as const;

type Contender = (typeof contenders)[number]['name'];

interface Measured {
  readonly contender: Contender;
  readonly perSecond: number;
  readonly cpuMsEach: number;
}

interface Broadcast {
  readonly subscriptions: number;
  readonly perSecond: number;
  readonly rssMiB: PushWorkerOutput['rssMiB'];
}

export const push: Scenario = {
  name: 'push',
  summary: 'deliveries beside web-push alone, and the memory of a broadcast',
  async run(context): Promise<ScenarioReport> {
    const browsers = Array.from({ length: BROWSERS }, () => browserKeys());
    const measured: Measured[] = [];
    const floorMs: number[] = [];
    const input: PushServiceInput = { latencyMs: LATENCY_MS };
    const service = startJob<number, PushServiceSaid>('push-service', input);
    const said = await service.ready;
    const subscriptions = browsers.map(({ p256dh, auth }, n) => ({
      endpoint: `${said.origin}/send/${n}`,
      p256dh,
      auth,
    }));
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (const { name, deliveries } of contenders) {
        const many = Math.max(50, Math.round(deliveries * context.scale));
        measured.push(await measure(context, name, many, { ...said, subscriptions }));
      }
      const floor: PushFloorInput = { subscriptions, deliveries: 5_000 };
      floorMs.push(((await runJob<number>('push-floor', floor)).output / floor.deliveries) * 1_000);
    }
    await service.stop();
    const broadcasts = await measureBroadcasts(context, subscriptions);
    return report({ measured, floorMs, broadcasts });
  },
};

interface Service extends PushServiceSaid {
  readonly subscriptions: readonly SubscriptionKeys[];
}

async function measure(
  context: ScenarioContext,
  contender: Contender,
  deliveries: number,
  { origin, ca, subscriptions }: Service,
): Promise<Measured> {
  const payload = JSON.stringify(PAYLOAD);
  const took = async (): Promise<Pick<PushWorkerOutput, 'elapsedMs' | 'cpuSeconds'>> => {
    if (contender === 'pulsebox') {
      const url = await prepare(context, origin, subscriptions, deliveries);
      await query(url, REQUEST_EACH, [deliveries, payload]);
      await context.server.settle(url);
      const input: PushWorkerInput = { url, origin, ca, vapid: VAPID, events: deliveries, deliveries };
      return (await runJob<PushWorkerOutput>('push-worker', input)).output;
    }
    const input: PushPlainInput = {
      ca,
      vapid: VAPID,
      subscriptions,
      deliveries,
      payload,
      concurrency: contender === 'one' ? 1 : 50,
      ownAgent: contender === 'fifty',
    };
    return (await runJob<PushWorkerOutput>('push-plain', input)).output;
  };
  const { elapsedMs, cpuSeconds } = await took();
  const measured = {
    contender,
    perSecond: (deliveries / elapsedMs) * 1_000,
    cpuMsEach: (cpuSeconds / deliveries) * 1_000,
  };
  context.progress(
    `${contender}: ${perSecond(measured.perSecond)}, ${ms(measured.cpuMsEach)} of CPU a delivery`,
  );
  return measured;
}

/** Result: none. $1 origin, $2 keys and $3 secrets of the browsers, $4 how many subscriptions, each of another user. */
const SUBSCRIBE = `
  insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
  select 'user-' || i, $1 || '/send/' || i, ($2::text[])[1 + i % cardinality($2)], ($3::text[])[1 + i % cardinality($3)]
  from generate_series(1, $4::int) i`;

/** Result: none. $1 how many users, $2 the payload. */
const REQUEST_EACH = `
  insert into outbox.event (topic, payload)
  select 'push.requested', jsonb_build_object('user_id', 'user-' || i, 'payload', $2::jsonb)
  from generate_series(1, $1::int) i`;

/** Result: none. $1 the payload. */
const REQUEST_ALL = `insert into outbox.event (topic, payload) values ('push.broadcast', jsonb_build_object('payload', $1::jsonb))`;

async function prepare(
  { server }: ScenarioContext,
  origin: string,
  browsers: readonly SubscriptionKeys[],
  subscriptions: number,
): Promise<string> {
  const url = await server.freshDatabase('bench_push');
  await migrate({ connectionString: url }, [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
    pushMigrations,
  ]);
  const keys = browsers.map(({ p256dh }) => p256dh);
  const secrets = browsers.map(({ auth }) => auth);
  await query(url, SUBSCRIBE, [origin, keys, secrets, subscriptions]);
  return url;
}

async function measureBroadcasts(
  context: ScenarioContext,
  browsers: readonly SubscriptionKeys[],
): Promise<Broadcast[]> {
  const broadcasts: Broadcast[] = [];
  // Without latency: what is asked is how much memory it takes.
  const input: PushServiceInput = { latencyMs: 0 };
  const service = startJob<number, PushServiceSaid>('push-service', input);
  const { origin, ca } = await service.ready;
  for (const size of BROADCASTS) {
    const subscriptions = Math.round(size * context.scale);
    const url = await prepare(context, origin, browsers, subscriptions);
    await query(url, REQUEST_ALL, [JSON.stringify(PAYLOAD)]);
    await context.server.settle(url);
    const worker: PushWorkerInput = {
      url,
      origin,
      ca,
      vapid: VAPID,
      events: 1,
      deliveries: subscriptions,
    };
    const { output } = await runJob<PushWorkerOutput>('push-worker', worker, asDeployed('push-worker'));
    context.progress(
      `broadcast to ${count(subscriptions)}: ${mib(output.rssMiB.before)} → ${mib(output.rssMiB.peak)}`,
    );
    broadcasts.push({
      subscriptions,
      perSecond: (subscriptions / output.elapsedMs) * 1_000,
      rssMiB: output.rssMiB,
    });
  }
  await service.stop();
  return broadcasts;
}

interface Findings {
  readonly measured: readonly Measured[];
  readonly floorMs: readonly number[];
  readonly broadcasts: readonly Broadcast[];
}

function report({ measured, floorMs, broadcasts }: Findings): ScenarioReport {
  const of = (contender: Contender, figure: 'perSecond' | 'cpuMsEach'): number[] =>
    measured.filter((run) => run.contender === contender).map((run) => run[figure]);
  const speed = (contender: Contender): number => median(of(contender, 'perSecond'));
  const cpu = (contender: Contender): number => median(of(contender, 'cpuMsEach'));
  /** Of runs that are neighbours in time: a shared machine is another one a minute later. */
  const over = (contender: Contender, figure: 'perSecond' | 'cpuMsEach'): number => {
    const theirs = of(contender, figure);
    return median(of('pulsebox', figure).map((ours, n) => ours / (theirs[n] ?? Number.NaN)));
  };
  const growth = (broadcasts.at(-1)?.rssMiB.peak ?? Number.NaN) / (broadcasts[0]?.rssMiB.peak ?? Number.NaN);
  const least = (text: string, value: number, goal: number): ScenarioReport['goals'][number] => ({
    text: `push: at least ${goal} × ${text}`,
    measured: ratio(value),
    met: value >= goal,
  });
  return {
    title: `Push: a push service over TLS, ${LATENCY_MS} ms of latency`,
    goals: [
      least('web-push one at a time', over('one', 'perSecond'), OVER_ONE),
      least('web-push 50 at a time', over('fifty', 'perSecond'), OVER_FIFTY),
      least(
        'the deliveries for a second of CPU of web-push one at a time',
        1 / over('one', 'cpuMsEach'),
        CPU_OVER_ONE,
      ),
      {
        text: `push: a broadcast to ${count(broadcasts.at(-1)?.subscriptions ?? 0)} takes at most ${percent(FLAT_WITHIN - 1)} more memory than to a tenth`,
        measured: `${growth <= 1 ? '' : '+'}${percent(growth - 1)}`,
        met: growth <= FLAT_WITHIN,
      },
    ],
    tables: [
      {
        head: ['', 'Pulsebox is', 'deliveries', 'least - most', 'its CPU is', 'CPU a delivery'],
        rows: [
          ...contenders.map(({ name, label }) => [
            label,
            name === 'pulsebox' ? '-' : ratio(over(name, 'perSecond')),
            perSecond(speed(name)),
            range(of(name, 'perSecond'), perSecond),
            name === 'pulsebox' ? '-' : percent(over(name, 'cpuMsEach')),
            ms(cpu(name)),
          ]),
          [
            'the key agreement alone',
            '-',
            '-',
            '-',
            ratio(cpu('pulsebox') / median(floorMs)),
            ms(median(floorMs)),
          ],
        ],
      },
      {
        head: ['broadcast to', 'peak', 'above what it began with', 'deliveries'],
        rows: broadcasts.map(({ subscriptions, rssMiB, perSecond: speedOf }) => [
          count(subscriptions),
          mib(rssMiB.peak),
          mib(rssMiB.peak - rssMiB.before),
          perSecond(speedOf),
        ]),
      },
    ],
    notes: [
      'Pulsebox reads events, resolves users, encrypts on a thread of its own, sends at most 200 at a time over HTTP/2, and records each delivery; the loops of web-push encrypt and send to subscriptions in memory, and record nothing. CPU is that of the sending process with all its threads. Ratios are medians of those between neighbours in time. The push service is one process on the same machine, so it and the sender share the cores; it checks nothing, to be the lesser part.',
      'A broadcast is one event, before a service without latency, sent by a process whose heap has the bounds of push-worker in k8s/base.',
    ],
    data: { measured, floorMs, broadcasts },
  };
}
