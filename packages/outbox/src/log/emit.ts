// Adds events to the log, in the transaction of the caller.

import type { ClientBase, Pool } from 'pg';
import type { JsonValue } from './event.ts';
import { OutboxError } from '../outbox-error.ts';
import { namesTrace, traceHeaders } from './trace-headers.ts';

export interface NewEvent<Payload extends JsonValue = JsonValue> {
  /** For instance `item.upserted`: letters, digits and `._:-`, at most 200 characters. */
  readonly topic: string;
  /** Any JSON, at most 16 MiB as PostgreSQL writes it; a few kilobytes by good sense. Carry ids, not documents. */
  readonly payload: Payload;
  /** What order is kept for, for instance `item:42`; at most 1,000 bytes. Without it the event is in no order. */
  readonly key?: string | null;
  /**
   * What is for the way and not for the work. Where the process traces with OpenTelemetry, the active span's
   * `traceparent` is added, unless these name a trace themselves.
   */
  readonly headers?: Readonly<Record<string, JsonValue>>;
}

export interface EmitOptions {
  /** Emit in a transaction of its own. Default false: a client outside a transaction is refused. */
  readonly autocommit?: boolean;
}

/** Result: the positions, in the order given. $1 topics, $2 keys, $3 payloads, $4 headers. Inserts only. */
const INSERT_EVENTS = `
  insert into outbox.event (topic, key, payload, headers)
  select topic, key, payload, headers
  from unnest($1::text[], $2::text[], $3::jsonb[], $4::jsonb[]) with ordinality as e(topic, key, payload, headers, n)
  order by n
  returning seq`;

/**
 * Result: the position. $1 topic, $2 key, $3 payload, $4 headers. Inserts only.
 *
 * The function's plan is kept with the session, whoever it is lent to by a pooler. An insert of our own would be planned
 * each time, partitions and all: 11 µs more of the server's processor, a tenth.
 */
const EMIT_EVENT = `
  select outbox.emit(topic => $1, key => $2, payload => $3, headers => $4) as seq`;

const TOPIC = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$/;
const LONGEST_KEY_BYTES = 1_000;

/** SQLSTATE of a statement in a transaction that has failed. */
const IN_FAILED_TRANSACTION = '25P02';

/** Of the table: what a reader could not read is refused where it is written. */
const SIZE_CONSTRAINTS: ReadonlySet<unknown> = new Set(['event_payload_size', 'event_headers_size']);

/** In the output of JSON.stringify: an escaped zero or lone surrogate, and not an escaped backslash before a `u`. */
const NOT_FOR_JSONB = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/;

/**
 * Adds one event to the transaction that `client` is in; it is delivered if and when that transaction commits.
 *
 * Lock the row that the event is about first (write it, or `select … for update`), then emit: events of one key are
 * delivered in the order in which their writers held that lock.
 *
 * @returns the event's position
 * @throws OUTBOX_NOT_IN_TRANSACTION when the client has no transaction open and `autocommit` is not set
 * @throws OUTBOX_EVENT_INVALID when topic, key, payload or headers cannot be stored
 */
export async function emit<Payload extends JsonValue>(
  client: ClientBase | Pool,
  event: NewEvent<Payload>,
  options: EmitOptions = {},
): Promise<number> {
  assertInTransaction(client, options);
  const [position = Number.NaN] = await insert(client, EMIT_EVENT, [...columns(event, traceHeaders())]);
  return position;
}

/**
 * Adds many events in one statement, in the order given. The same rules as for `emit`.
 *
 * @returns the events' positions, in the same order
 */
export async function emitAll<Payload extends JsonValue>(
  client: ClientBase | Pool,
  events: readonly NewEvent<Payload>[],
  options: EmitOptions = {},
): Promise<number[]> {
  assertInTransaction(client, options);
  if (events.length === 0) return [];
  const trace = traceHeaders();
  const rowsOfColumns = events.map((event) => columns(event, trace));
  return await insert(client, INSERT_EVENTS, [
    rowsOfColumns.map(([topic]) => topic),
    rowsOfColumns.map(([, key]) => key),
    rowsOfColumns.map(([, , payload]) => payload),
    rowsOfColumns.map(([, , , headers]) => headers),
  ]);
}

async function insert(client: ClientBase | Pool, text: string, values: unknown[]): Promise<number[]> {
  try {
    const { rows } = await client.query<{ seq: string }>(text, values);
    return rows.map((row) => Number(row.seq));
  } catch (error) {
    const { code, constraint } = error as { code?: unknown; constraint?: unknown };
    // A statement's error reaches its caller a moment before the client knows that its transaction has failed.
    if (code === IN_FAILED_TRANSACTION) throw notInTransaction('E', error);
    if (SIZE_CONSTRAINTS.has(constraint)) throw tooLarge(error);
    throw error;
  }
}

type Columns = readonly [topic: string, key: string | null, payload: string, headers: string];

/** @param trace headers of the active trace */
function columns(event: NewEvent, trace: NewEvent['headers']): Columns {
  if (typeof event !== 'object' || event === null)
    throw invalid('an event such as { topic, payload }', event);
  return [topicOf(event), keyOf(event), payloadOf(event), headersOf(event, trace)];
}

function topicOf({ topic }: NewEvent): string {
  if (typeof topic === 'string' && TOPIC.test(topic)) return topic;
  throw invalid(
    'a topic such as "item.upserted"',
    topic,
    'a topic starts with a letter or digit and has letters, digits and . _ : - after it, at most 200 characters in all',
  );
}

function keyOf({ key }: NewEvent): string | null {
  if (key === undefined || key === null) return null;
  // A lone surrogate would be stored as U+FFFD, and two different keys as the same.
  const fits = typeof key === 'string' && Buffer.byteLength(key) <= LONGEST_KEY_BYTES;
  if (fits && !key.includes('\0') && key.isWellFormed()) return key;
  throw invalid(
    `a key of at most ${LONGEST_KEY_BYTES} bytes of whole characters without zero bytes`,
    key,
    'a key names what the event is about, for instance "item:42"; put everything else into the payload',
  );
}

function payloadOf({ payload, topic }: NewEvent): string {
  return jsonb(payload, `a payload for ${topic}`);
}

function headersOf({ headers }: NewEvent, trace: NewEvent['headers']): string {
  if (headers === undefined) return trace === undefined ? '{}' : JSON.stringify(trace);
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    throw invalid('headers that are an object', headers, 'pass { name: value }, or leave headers out');
  }
  return jsonb(trace === undefined || namesTrace(headers) ? headers : { ...trace, ...headers }, 'headers');
}

/** The text of a value as jsonb can hold it: its own messages do not say which event they are about. */
function jsonb(value: unknown, what: string): string {
  let text: string | undefined;
  let cause: unknown;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    cause = error;
  }
  if (text === undefined) {
    const hint = 'pass an object, array, string, number, boolean or null, without bigint and without cycles';
    throw invalid(`${what} that JSON can hold`, value, hint, cause);
  }
  if (text.includes('\\u') && NOT_FOR_JSONB.test(text)) {
    throw new OutboxError(
      'OUTBOX_EVENT_INVALID',
      `expected ${what} of whole characters, got one with a zero character or half of a surrogate pair`,
      { hint: 'jsonb cannot hold them: remove \\u0000 and lone surrogates from its strings and names' },
    );
  }
  return text;
}

function invalid(expected: string, got: unknown, hint?: string, cause?: unknown): OutboxError {
  return new OutboxError('OUTBOX_EVENT_INVALID', `expected ${expected}, got ${describe(got)}`, {
    hint: hint ?? 'see NewEvent for what an event is made of',
    cause,
  });
}

function tooLarge(cause: unknown): OutboxError {
  const expected = 'expected payload and headers of at most 16 MiB each, as PostgreSQL writes them';
  return new OutboxError('OUTBOX_EVENT_INVALID', `${expected}, got more`, {
    hint: 'carry the id of a row or a file, and read it in the handler',
    cause,
  });
}

function assertInTransaction(client: ClientBase | Pool, options: EmitOptions): void {
  if (options.autocommit === true) return;
  // 'I' is idle: no transaction is open. A pool has none, ever.
  const status = 'getTransactionStatus' in client ? client.getTransactionStatus() : 'I';
  if (status === 'T') return;
  throw notInTransaction(status);
}

function notInTransaction(status: string | null, cause?: unknown): OutboxError {
  return new OutboxError(
    'OUTBOX_NOT_IN_TRANSACTION',
    status === 'E'
      ? 'the transaction of this client has failed; nothing can be emitted in it'
      : 'expected a client with an open transaction, so that the event commits with your rows; got one without',
    {
      hint: 'emit between BEGIN and COMMIT on the same client, or pass { autocommit: true } for an event that stands alone',
      cause,
    },
  );
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'string') {
    return value.length <= 40 ? JSON.stringify(value) : `a string of ${Buffer.byteLength(value)} bytes`;
  }
  return typeof value === 'object' ? 'an object' : typeof value;
}
