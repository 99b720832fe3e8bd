// pulsebox push send: notifies a user as an application would, through the log, and watches what becomes of it.

import { setTimeout as delay } from 'node:timers/promises';
import { Option } from 'commander';
import type { Command } from 'commander';
import { emit } from '@pulsebox/outbox';
import type { JsonValue } from '@pulsebox/outbox';
import {
  countSubscriptions,
  createMessage,
  deliveryOutcomes,
  LONGEST_TTL_SECONDS,
  REQUESTED_TOPIC,
  urgencies,
} from '@pulsebox/push';
import type { Notification, Urgency } from '@pulsebox/push';
import type { Pool } from 'pg';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { parsePayload } from '../payload.ts';
import { plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { wholeNumber } from '../whole-number.ts';

interface SendFlags {
  readonly title?: string;
  readonly body?: string;
  readonly url?: string;
  readonly tag?: string;
  readonly data?: string;
  readonly ttl?: number;
  readonly urgency?: Urgency;
  readonly topic?: string;
  readonly wait: number;
}

const HELP = `
Emits push.requested; push-worker delivers it, with the keys that it is configured with. The
exit code is 0 when a push service took the message, 1 when none did within the wait.

Examples:
  pulsebox push send anna --title 'Hello' --body 'It works' --url /inbox
  pulsebox push send anna --title 'Goal!' --topic score --ttl 60 --urgency high
  pulsebox push send anna --title 'Hello' --wait 0`;

export function declareSend(push: Command, run: Run): void {
  push
    .command('send')
    .summary('notify every browser of a user')
    .description('Sends a notification to every browser of a user, and says what became of it.')
    .argument('<user>', 'as in app.push_subscriptions')
    .option('--title <text>', 'what the notification says first')
    .option('--body <text>', 'and then')
    .option('--url <url>', 'where a click leads')
    .option('--tag <text>', 'a later notification of the same tag takes its place on the screen')
    .option('--data <json>', 'anything that the service worker of the page understands')
    .option(
      '--ttl <seconds>',
      'how long it waits for a device that is away',
      wholeNumber(0, LONGEST_TTL_SECONDS),
    )
    .addOption(new Option('--urgency <word>', 'how much of its battery a device may give').choices(urgencies))
    .option('--topic <name>', 'a later message of the same topic takes its place at the push service')
    .option('--wait <seconds>', 'how long to watch what becomes of it', wholeNumber(0, 3_600), 10)
    .addHelpText('after', HELP)
    .action((user: string, flags: SendFlags) => run((session) => send(session, user, flags)));
}

async function send(session: Session, user: string, flags: SendFlags): Promise<ExitCode> {
  const { ttl, urgency, topic } = flags;
  const notification = notificationOf(flags);
  // What could not be sent is said here, and not by a dead letter.
  createMessage(notification, { ttlSeconds: ttl, urgency, topic });
  const payload = { user_id: user, payload: notification as JsonValue, ttl, urgency, topic };
  const { terminal } = session;
  const database = await announceDatabase(session);
  return await withPool(database, async (pool) => {
    const subscriptions = await countSubscriptions(pool, user);
    if (subscriptions === 0) {
      terminal.result(
        { user, subscriptions, position: null, outcomes: {} },
        () => `${user} has no subscriptions; nothing was emitted`,
      );
      return exitCodes.no;
    }
    const position = await emit(
      pool,
      { topic: REQUESTED_TOPIC, key: `user:${user}`, payload },
      { autocommit: true },
    );
    const outcomes = await watch(pool, { position, subscriptions, seconds: flags.wait });
    terminal.result({ user, subscriptions, position, outcomes }, () =>
      describe({ position, subscriptions, outcomes, waited: flags.wait }),
    );
    return flags.wait === 0 || (outcomes.sent ?? 0) > 0 ? exitCodes.ok : exitCodes.no;
  });
}

function notificationOf({ title, body, url, tag, data }: SendFlags): Notification {
  return {
    ...(title === undefined ? {} : { title }),
    ...(body === undefined ? {} : { body }),
    ...(url === undefined ? {} : { url }),
    ...(tag === undefined ? {} : { tag }),
    ...(data === undefined ? {} : { data: parsePayload(data, 'the data') }),
  };
}

type Outcomes = Awaited<ReturnType<typeof deliveryOutcomes>>;

interface Watched {
  readonly position: number;
  readonly subscriptions: number;
  readonly seconds: number;
}

const LOOK_EVERY_MS = 100;

async function watch(pool: Pool, { position, subscriptions, seconds }: Watched): Promise<Outcomes> {
  const untilMs = performance.now() + seconds * 1_000;
  for (;;) {
    const outcomes = await deliveryOutcomes(pool, position);
    if (total(outcomes) >= subscriptions || performance.now() >= untilMs) return outcomes;
    await delay(LOOK_EVERY_MS);
  }
}

interface Described {
  readonly position: number;
  readonly subscriptions: number;
  readonly outcomes: Outcomes;
  readonly waited: number;
}

const WORDS: Readonly<Record<keyof Outcomes, string>> = {
  sent: 'taken by its push service',
  gone: 'gone: its push service knows it no longer, and it was removed',
  waiting: 'tried again later',
  rejected: 'refused by its push service: see `pulsebox dead list`',
  expired: 'not in time',
  superseded: 'left out for a later message of its topic',
  forbidden: 'not sent to: its endpoint is not allowed',
  invalid: 'not sent to: its keys are none',
};

function describe({ position, subscriptions, outcomes, waited }: Described): string {
  const known = Object.entries(outcomes).map(
    ([outcome, deliveries]) => `  ${deliveries} ${WORDS[outcome as keyof Outcomes]}`,
  );
  const open = subscriptions - total(outcomes);
  const rest =
    open > 0 && waited > 0 ? [`  ${open} not yet: \`pulsebox groups\` shows whether push-worker runs`] : [];
  return [
    `emitted at position ${position} for ${plural(subscriptions, 'subscription')}`,
    ...known,
    ...rest,
  ].join('\n');
}

function total(outcomes: Outcomes): number {
  return Object.values(outcomes).reduce((sum, deliveries) => sum + deliveries, 0);
}
