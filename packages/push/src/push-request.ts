// What an event asks for: read and checked as a whole before anything of it is sent.

import type { JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { createMessage, DEFAULT_TTL_SECONDS, described } from './message.ts';
import type { MessageOptions, Notification, PushMessage } from './message.ts';
import { PushError } from './push-error.ts';

/** One user: `{ user_id, payload, ttl?, urgency?, topic? }`. */
export const REQUESTED_TOPIC = 'push.requested';

/** Everybody: the same without `user_id`. A topic of its own, so that nobody is told by a user that went missing. */
export const BROADCAST_TOPIC = 'push.broadcast';

export interface PushRequest {
  readonly position: number;
  /** Null: everybody. */
  readonly userId: string | null;
  readonly message: PushMessage;
  /** When the event was written, in milliseconds since 1970, on the database's clock. */
  readonly createdAtMs: number;
  /** Set when a person has replayed a broadcast that services had refused: another for each replay. */
  readonly replay?: string | undefined;
}

/** In the headers of a dead letter, so that its replay is told from a batch that is delivered again. */
export const REPLAY_HEADER = 'push-replay';

const FIELDS: ReadonlySet<string> = new Set(['user_id', 'payload', 'ttl', 'urgency', 'topic']);

/** As the table has it. */
export const LONGEST_USER_ID_BYTES = 500;

/**
 * Undefined: an event of another topic, and none of ours.
 *
 * @throws PUSH_MESSAGE_INVALID
 */
export function readRequest(
  event: OutboxEvent,
  defaultTtlSeconds: number = DEFAULT_TTL_SECONDS,
): PushRequest | undefined {
  const { topic, payload, position, createdAt, headers } = event;
  if (topic !== REQUESTED_TOPIC && topic !== BROADCAST_TOPIC) return undefined;
  const fields = fieldsOf(payload);
  const replay = headers[REPLAY_HEADER];
  return {
    position,
    userId: topic === BROADCAST_TOPIC ? nobody(fields) : userOf(fields),
    message: createMessage(fields['payload'] as Notification, {
      ttlSeconds: (fields['ttl'] ?? defaultTtlSeconds) as number,
      urgency: (fields['urgency'] ?? undefined) as MessageOptions['urgency'],
      topic: (fields['topic'] ?? undefined) as MessageOptions['topic'],
    }),
    createdAtMs: createdAt.getTime(),
    ...(typeof replay === 'string' ? { replay } : {}),
  };
}

/** The event that asked for it, as far as it is known here: its key and headers are not. */
export function eventOf({
  position,
  userId,
  message: { plaintext, ttlSeconds: ttl, urgency, topic },
  createdAtMs,
}: Omit<PushRequest, 'replay'>): OutboxEvent {
  return {
    position,
    topic: userId === null ? BROADCAST_TOPIC : REQUESTED_TOPIC,
    key: null,
    payload: {
      ...(userId === null ? {} : { user_id: userId }),
      payload: JSON.parse(plaintext) as JsonValue,
      ttl,
      urgency,
      ...(topic === undefined ? {} : { topic }),
    },
    headers: {},
    createdAt: new Date(createdAtMs),
  };
}

type Fields = Readonly<Record<string, JsonValue | undefined>>;

function fieldsOf(payload: JsonValue): Fields {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload))
    throw invalid('an event with an object', described(payload), EXAMPLE);
  const stranger = Object.keys(payload).find((name) => !FIELDS.has(name));
  if (stranger === undefined) return payload as Fields;
  throw invalid(
    'an event of user_id, payload, ttl, urgency and topic',
    `${JSON.stringify(stranger.slice(0, 40))} as well`,
    'title, body, url, tag and data belong into its payload',
  );
}

/** A user that went missing on the way must never become everybody. */
function userOf({ user_id: user }: Fields): string {
  const text = typeof user === 'number' && Number.isSafeInteger(user) ? String(user) : user;
  const fits = typeof text === 'string' && text !== '' && Buffer.byteLength(text) <= LONGEST_USER_ID_BYTES;
  if (fits) return text;
  throw invalid(
    'a user_id that is a text or a whole number',
    described(user),
    `nothing was sent; to notify everybody emit ${BROADCAST_TOPIC}`,
  );
}

function nobody({ user_id: user }: Fields): null {
  if (user === undefined || user === null) return null;
  throw invalid('a broadcast without user_id', 'one with it', `emit ${REQUESTED_TOPIC} to notify one user`);
}

const EXAMPLE = 'for instance { "user_id": "42", "payload": { "title": "Hello" } }';

function invalid(expected: string, got: string, hint: string): PushError {
  return new PushError('PUSH_MESSAGE_INVALID', `expected ${expected}, got ${got}`, { hint });
}
