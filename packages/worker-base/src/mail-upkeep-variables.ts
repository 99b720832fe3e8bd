// What mailboxes need by the clock, as environment variables.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';

export const mailUpkeepVariables: {
  readonly GMAIL_PUBSUB_TOPIC: Variable<string | undefined>;
  readonly GMAIL_WATCH_RENEW_BUFFER_HOURS: Variable<number>;
  readonly GMAIL_FALLBACK_SYNC_MINUTES: Variable<number>;
  readonly GMAIL_DELETED_MAIL_DAYS: Variable<number>;
} = {
  GMAIL_PUBSUB_TOPIC: env.optional(
    env.string({
      description:
        'The topic that Gmail publishes to: mail-changes, or projects/PROJECT/topics/mail-changes. Unset: no mailbox is watched.',
    }),
  ),
  GMAIL_WATCH_RENEW_BUFFER_HOURS: env.positiveNumber({
    description: 'How long before its end a watch is renewed; Gmail ends each after 7 days.',
    default: 12,
  }),
  GMAIL_FALLBACK_SYNC_MINUTES: env.positiveNumber({
    description: 'A mailbox that was not synced for this long is synced without being told of a change.',
    default: 60,
  }),
  // Two at least: nobody is told of mail that is older than a day, should it come back.
  GMAIL_DELETED_MAIL_DAYS: env.integer({
    description: 'Messages that went from their mailbox are removed from the database after so many days.',
    default: 30,
    min: 2,
    max: 3_650,
  }),
};

export type MailUpkeepConfig = Environment<typeof mailUpkeepVariables>;

const FULL_NAME = /^projects\/[^/]+\/topics\/[^/]+$/;
/** Watches live for seven days: one that is renewed earlier than it was registered is renewed for ever. */
const LONGEST_BUFFER_HOURS = 6 * 24;
/** Upkeep comes round every five minutes, and Google may be away for some of them. */
const SHORTEST_BUFFER_HOURS = 1;

/** A rule for `WorkerCommand.check`. */
export function checkMailUpkeep(
  config: MailUpkeepConfig & { readonly GMAIL_PUBSUB_PROJECT_ID: string | undefined },
): readonly string[] {
  const faults: string[] = [];
  const topic = config.GMAIL_PUBSUB_TOPIC;
  if (topic !== undefined && topic.includes('/') && !FULL_NAME.test(topic))
    faults.push(`expected GMAIL_PUBSUB_TOPIC to be a name or projects/PROJECT/topics/TOPIC, got "${topic}"`);
  if (topic !== undefined && !topic.includes('/') && config.GMAIL_PUBSUB_PROJECT_ID === undefined)
    faults.push(
      `expected GMAIL_PUBSUB_PROJECT_ID to be set beside GMAIL_PUBSUB_TOPIC, or the topic as projects/PROJECT/topics/${topic}`,
    );
  const hours = config.GMAIL_WATCH_RENEW_BUFFER_HOURS;
  if (hours > LONGEST_BUFFER_HOURS || hours < SHORTEST_BUFFER_HOURS)
    faults.push(
      `expected GMAIL_WATCH_RENEW_BUFFER_HOURS to be from ${SHORTEST_BUFFER_HOURS} to ${LONGEST_BUFFER_HOURS} (watches live for 7 days), got "${hours}"`,
    );
  return faults;
}

/** As Gmail wants it. Undefined: no mailbox is watched. */
export function mailTopicOf(
  config: MailUpkeepConfig & { readonly GMAIL_PUBSUB_PROJECT_ID: string | undefined },
): string | undefined {
  const { GMAIL_PUBSUB_TOPIC: topic, GMAIL_PUBSUB_PROJECT_ID: project } = config;
  if (topic === undefined || FULL_NAME.test(topic)) return topic;
  return project === undefined ? undefined : `projects/${project}/topics/${topic}`;
}
