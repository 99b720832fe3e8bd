// The handler of a pull that reads Gmail's notifications: from messages to what they say of each mailbox.

import type { TickContext } from '@pulsebox/loop';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import { countDeadLetters, keepDeadLetters } from './dead-letter.ts';
import type { Misunderstood } from './dead-letter.ts';
import { parseNotification } from './notification.ts';
import type { MailNotification } from './notification.ts';
import type { PullHandler } from './pull-loop.ts';
import type { PulledMessage } from './pull-stream.ts';
import type { PullMetrics } from './pubsub-metrics.ts';

export interface RecordedNotifications {
  /** How many mailbox connections had not been told of as much: each has an event now. */
  readonly changed: number;
  /** Addresses, in lower case, that nobody has connected. */
  readonly unmatched: readonly string[];
}

/**
 * Records the newest history id that each mailbox connection was told of, and emits an event for those to which it is
 * news, all in the transaction that `client` is in. Gets at most one notification for an address.
 */
export type RecordNotifications = (
  client: PoolClient,
  notifications: readonly MailNotification[],
) => Promise<RecordedNotifications>;

export interface MailNotificationsOptions {
  readonly pool: Pool;
  /** For people, beside the messages that are kept. */
  readonly subscription: string;
  readonly record: RecordNotifications;
  readonly metrics?: PullMetrics | undefined;
}

/** For a statement. A worker that freezes in the middle of it keeps no sync waiting either: the server ends it. */
const STATEMENT_MS = 5_000;

/**
 * Notifications come unordered and more than once. Of those in a batch the newest of each mailbox counts. What they bring
 * is recorded, and what cannot be parsed is kept in `pubsub.dead_letter`, in one transaction; when it has committed, all
 * of them may be acknowledged. An address that nobody has connected is counted and passed over.
 */
export function mailNotifications(options: MailNotificationsOptions): PullHandler {
  const { pool, subscription, record, metrics } = options;
  let lettersCounted = false;

  return async (messages: readonly PulledMessage[], { log, progress }: TickContext): Promise<void> => {
    const { newest, misunderstood, folded } = sort(messages);
    const bounds = { statementMs: STATEMENT_MS, onWaiting: () => progress() };
    const { changed, unmatched } = await boundedTransaction(pool, bounds, async (client) => {
      await keepDeadLetters(client, subscription, misunderstood);
      return await record(client as PoolClient, newest);
    });

    for (const { message, reason } of misunderstood) {
      log.warn(
        { messageId: message.id, publishTime: message.publishTime, reason },
        'kept a message that is no mail notification in pubsub.dead_letter',
      );
    }
    if (unmatched.length > 0)
      log.debug({ mailboxes: unmatched.length }, 'notified of mailboxes that nobody has connected');
    if (metrics === undefined) return;
    metrics.messages.inc({ outcome: 'unparseable' }, misunderstood.length);
    metrics.messages.inc({ outcome: 'folded' }, folded);
    metrics.messages.inc({ outcome: 'unknown_address' }, unmatched.length);
    metrics.messages.inc({ outcome: 'known_address' }, newest.length - unmatched.length);
    metrics.changed.inc(changed);
    if (misunderstood.length > 0 || !lettersCounted) {
      metrics.deadLetters.set(await countDeadLetters(pool));
      lettersCounted = true;
    }
  };
}

interface Sorted {
  /** One for each address. */
  readonly newest: readonly MailNotification[];
  readonly misunderstood: readonly Misunderstood[];
  /** How many others of the same address they stand for. */
  readonly folded: number;
}

function sort(messages: readonly PulledMessage[]): Sorted {
  const newest = new Map<string, MailNotification>();
  const misunderstood: Misunderstood[] = [];
  for (const message of messages) {
    const parsed = parseNotification(message);
    if (!parsed.understood) {
      misunderstood.push({ message, reason: parsed.reason });
      continue;
    }
    const { emailAddress, historyId } = parsed.notification;
    const known = newest.get(emailAddress);
    if (known === undefined || known.historyId < historyId) newest.set(emailAddress, parsed.notification);
  }
  return {
    newest: [...newest.values()],
    misunderstood,
    folded: messages.length - misunderstood.length - newest.size,
  };
}
