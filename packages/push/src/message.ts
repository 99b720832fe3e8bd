// A message as push services take it, checked before anything is sent: what they would refuse is said here in words.

import { PushError } from './push-error.ts';

export const urgencies = ['very-low', 'low', 'normal', 'high'] as const;
export type Urgency = (typeof urgencies)[number];

/** What the service worker of the page gets, as JSON. At least one of them. */
export interface Notification {
  readonly title?: string;
  readonly body?: string;
  readonly url?: string;
  readonly data?: unknown;
  readonly tag?: string;
}

export interface PushMessage {
  /** The notification as JSON in UTF-8. At most `LONGEST_PLAINTEXT` bytes. */
  readonly plaintext: string;
  /** How long the push service keeps it for a device that is away, in seconds. */
  readonly ttlSeconds: number;
  readonly urgency: Urgency;
  /** A later message of the same topic takes the place of one that was not shown yet. */
  readonly topic: string | undefined;
}

export interface MessageOptions {
  /** Default `DEFAULT_TTL_SECONDS`. */
  readonly ttlSeconds?: number | undefined;
  /** Default `normal`. */
  readonly urgency?: Urgency | undefined;
  readonly topic?: string | undefined;
}

/**
 * Services must take 4,096 bytes (RFC 8030, 7.2). The header of aes128gcm takes 86 of them, the tag 16, the delimiter 1.
 */
export const LONGEST_PLAINTEXT = 3_993;

/** Four weeks: what the large services shorten longer ones to. */
export const LONGEST_TTL_SECONDS = 2_419_200;

export const DEFAULT_TTL_SECONDS = 86_400;

/** RFC 8030, 5.4: at most 32 characters of the URL-safe base64 alphabet. */
const TOPIC = /^[A-Za-z0-9_-]{1,32}$/;

const TEXTS = ['title', 'body', 'url', 'tag'] as const;
const FIELDS: ReadonlySet<string> = new Set([...TEXTS, 'data']);

/** Checks a message and writes it down. @throws PUSH_MESSAGE_INVALID */
export function createMessage(notification: Notification, options: MessageOptions = {}): PushMessage {
  return {
    plaintext: plaintextOf(notification),
    ttlSeconds: ttlOf(options.ttlSeconds ?? DEFAULT_TTL_SECONDS),
    urgency: urgencyOf(options.urgency ?? 'normal'),
    topic: options.topic === undefined ? undefined : topicOf(options.topic),
  };
}

function plaintextOf(notification: unknown): string {
  if (typeof notification !== 'object' || notification === null || Array.isArray(notification)) {
    throw invalid(
      'a payload that is an object',
      described(notification),
      'for instance { "title": "Hello" }',
    );
  }
  const stranger = Object.keys(notification).find((name) => !FIELDS.has(name));
  if (stranger !== undefined) {
    throw invalid(
      'a payload of title, body, url, tag and data',
      `${JSON.stringify(stranger.slice(0, 40))} as well`,
      'put what is your own into data',
    );
  }
  for (const name of TEXTS) {
    const value: unknown = (notification as Notification)[name];
    if (value !== undefined && typeof value !== 'string')
      throw invalid(`the payload's ${name} to be a text`, described(value), 'put everything else into data');
  }
  const plaintext = written(notification);
  if (plaintext === '{}')
    throw invalid('a payload with at least one of title, body, url, tag and data', 'none', 'give it a title');
  const bytes = Buffer.byteLength(plaintext);
  if (bytes > LONGEST_PLAINTEXT) {
    throw invalid(
      `a payload of at most ${LONGEST_PLAINTEXT.toLocaleString('en-GB')} bytes as JSON`,
      bytes.toLocaleString('en-GB'),
      'send an id or a url and have the service worker fetch the rest',
    );
  }
  return plaintext;
}

/** Thousands of arrays inside each other are JSON, and more than the writing of JSON can do. */
function written(notification: unknown): string {
  try {
    return JSON.stringify(notification);
  } catch (error) {
    throw invalid(
      'a payload that can be written as JSON',
      error instanceof RangeError ? 'one that is nested too deeply' : 'one that cannot',
      'put plain values into data',
    );
  }
}

function ttlOf(ttl: unknown): number {
  if (typeof ttl === 'number' && Number.isInteger(ttl) && ttl >= 0 && ttl <= LONGEST_TTL_SECONDS) return ttl;
  throw invalid(
    `a ttl in whole seconds from 0 to ${LONGEST_TTL_SECONDS} (four weeks)`,
    described(ttl),
    '0 delivers to devices that are online now, and to no other',
  );
}

function urgencyOf(urgency: unknown): Urgency {
  const known = urgencies.find((candidate) => candidate === urgency);
  if (known !== undefined) return known;
  throw invalid(`an urgency out of ${urgencies.join(', ')}`, described(urgency), 'leave it out for normal');
}

function topicOf(topic: unknown): string {
  if (typeof topic === 'string' && TOPIC.test(topic)) return topic;
  throw invalid(
    'a topic of 1 to 32 letters, digits, - and _',
    described(topic),
    'hash a longer name, for instance the first 32 characters of its SHA-256 in base64url',
  );
}

function invalid(expected: string, got: string, hint: string): PushError {
  return new PushError('PUSH_MESSAGE_INVALID', `expected ${expected}, got ${got}`, { hint });
}

/** Numbers and short texts as they are; the rest by its type: a reason must not carry what was meant for one user. */
export function described(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string')
    return value.length <= 40 ? JSON.stringify(value) : `a text of ${value.length} characters`;
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
