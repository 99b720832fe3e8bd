// What the bridge costs beside a plain publish loop with the same client, and how fast notifications become events.

import { appMigrations } from '@pulsebox/app-schema';
import { gmailMigrations } from '@pulsebox/gmail';
import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { pubsubMigrations } from '@pulsebox/pubsub';
import { findPubSubEmulator, freePort } from '@pulsebox/test-support';
import { query } from '../harness/bench-server.ts';
import { runJob, startJob } from '../harness/child.ts';
import { count, perSecond, range, ratio } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import { pubsubClient } from '../jobs/pubsub-client.ts';
import type { PublishBridgeInput } from '../jobs/publish-bridge.ts';
import type { PublishPlainInput } from '../jobs/publish-plain.ts';
import type { PubSubServerInput } from '../jobs/pubsub-server.ts';
import type { PullNotificationsInput } from '../jobs/pull-notifications.ts';

const MESSAGES = 30_000;
const KEYS = 2_000;
const BATCH_SIZE = 500;
const NOTIFICATIONS = 10_000;
const MAILBOXES = 500;

/** Result: none. $1 how many events, $2 of how many keys. */
const FILL_LOG = `
  insert into outbox.event (topic, key, payload)
  select 'item.upserted', 'item:' || i % $2::int, jsonb_build_object('item_id', i, 'org_id', 'acme')
  from generate_series(1, $1::int) i`;

/** Result: none. $1 how many mailboxes. */
const FILL_MAILBOXES = `
  insert into app.mail_connections (user_id, org_id, email, refresh_token)
  select 'user-' || i, 'acme', 'user-' || i || '@example.com', 'v1.none' from generate_series(0, $1::int - 1) i`;

type Contender = 'bridge' | 'plain-ordered' | 'plain-unordered' | 'notifications' | 'acknowledge-only';

interface Measured {
  readonly contender: Contender;
  readonly perSecond: number;
}

export const pubsub: Scenario = {
  name: 'pubsub',
  summary: 'the bridge beside a plain publish loop with the same client; notifications to mail.changed',
  async run(context): Promise<ScenarioReport> {
    const measured: Measured[] = [];
    const port = await freePort();
    const server = startJob<undefined>('pubsub-server', { port } satisfies PubSubServerInput);
    await server.ready;
    try {
      for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
        measured.push(...(await measureOnce(context, `127.0.0.1:${port}`, repetition)));
      }
    } finally {
      await server.stop();
    }
    const speeds = (contender: Contender): number[] =>
      measured.filter((run) => run.contender === contender).map((run) => run.perSecond);
    const speed = (contender: Contender): number => median(speeds(contender));
    const figures = (contender: Contender): string[] => [
      perSecond(speed(contender)),
      range(speeds(contender), perSecond),
    ];
    const where = findPubSubEmulator() === undefined ? 'the stand-in' : "Google's emulator";
    return {
      title: `Pub/Sub: ${count(MESSAGES * context.scale)} events out, ${count(NOTIFICATIONS * context.scale)} notifications in, on ${where}`,
      goals: [],
      tables: [
        {
          head: ['out', 'the bridge is', 'messages', 'least - most'],
          rows: [
            ['the bridge: log, order per key, cursor', '-', ...figures('bridge')],
            [
              'plain loop, ordering keys',
              ratio(speed('bridge') / speed('plain-ordered')),
              ...figures('plain-ordered'),
            ],
            [
              'plain loop, no order',
              ratio(speed('bridge') / speed('plain-unordered')),
              ...figures('plain-unordered'),
            ],
          ],
        },
        {
          head: ['in', 'with events it is', 'notifications', 'least - most'],
          rows: [
            ['to mail.changed, acknowledged', '-', ...figures('notifications')],
            [
              'acknowledged and nothing else',
              ratio(speed('notifications') / speed('acknowledge-only')),
              ...figures('acknowledge-only'),
            ],
          ],
        },
      ],
      notes: [
        `The plain loop publishes ${BATCH_SIZE} messages at a time with the client for applications and awaits them; it reads nothing from a database and stores no progress. With ordering keys (${count(KEYS)} of them) that client makes a request for every key, which is what the bridge avoids. Pub/Sub runs on the same machine and answers in no time: with a network between, requests count for more.`,
        `Notifications are of ${MAILBOXES} mailboxes and lie in the subscription when the clock starts, so many fold into one event.`,
      ],
      data: measured,
    };
  },
};

async function measureOnce(
  { server, scale, progress }: ScenarioContext,
  host: string,
  repetition: number,
): Promise<Measured[]> {
  const messages = Math.round(MESSAGES * scale);
  const notifications = Math.round(NOTIFICATIONS * scale);
  const client = pubsubClient(host);
  const measured: Measured[] = [];
  const note = (contender: Contender, many: number, elapsedMs: number): void => {
    measured.push({ contender, perSecond: (many / elapsedMs) * 1_000 });
    progress(`${contender}: ${perSecond((many / elapsedMs) * 1_000)}`);
  };

  const url = await server.freshDatabase('bench_pubsub');
  await migrate({ connectionString: url }, [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
    gmailMigrations,
    pubsubMigrations,
  ]);
  await query(url, FILL_LOG, [messages, KEYS]);
  await query(url, FILL_MAILBOXES, [MAILBOXES]);
  await server.settle(url);

  for (const contender of ['bridge', 'plain-ordered', 'plain-unordered'] as const) {
    const topic = `${contender}-${repetition}`;
    await client.createTopic(topic);
    const { output } =
      contender === 'bridge'
        ? await runJob<number>('publish-bridge', {
            url,
            host,
            topic,
            events: messages,
            batchSize: BATCH_SIZE,
          } satisfies PublishBridgeInput)
        : await runJob<number>('publish-plain', {
            host,
            topic,
            messages,
            keys: KEYS,
            atATime: BATCH_SIZE,
            ordered: contender === 'plain-ordered',
          } satisfies PublishPlainInput);
    note(contender, messages, output);
  }

  for (const contender of ['notifications', 'acknowledge-only'] as const) {
    const name = `${contender}-${repetition}`;
    const [topic] = await client.createTopic(name);
    await topic.createSubscription(`${name}-sub`);
    for (let sent = 0; sent < notifications; sent += BATCH_SIZE) {
      await Promise.all(
        Array.from({ length: Math.min(BATCH_SIZE, notifications - sent) }, async (_each, n) =>
          topic.publishMessage({
            data: Buffer.from(
              JSON.stringify({
                emailAddress: `user-${(sent + n) % MAILBOXES}@example.com`,
                historyId: String(1_000 + sent + n),
              }),
            ),
          }),
        ),
      );
    }
    const { output } = await runJob<number>('pull-notifications', {
      url,
      host,
      subscription: `${name}-sub`,
      notifications,
      record: contender === 'notifications',
    } satisfies PullNotificationsInput);
    note(contender, notifications, output);
  }
  await client.close();
  return measured;
}
