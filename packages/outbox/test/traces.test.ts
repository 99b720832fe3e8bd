// Traces of OpenTelemetry through the log: from whoever emits to the span around the handler.

import { context, trace } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { emit, emitAll, inProcessSpan, traceHeaders, traceOf } from '@pulsebox/outbox';
import type { JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { inApplicationSpan, recordSpans } from './recorded-spans.ts';
import type { RecordedSpans } from './recorded-spans.ts';
import { runRelay } from './relay-runner.ts';

const ONE = '11111111111111111111111111111111';
const OTHER = '22222222222222222222222222222222';
const SPAN = 'aaaaaaaaaaaaaaaa';
const traceparent = (traceId: string, spanId = SPAN, flags = '01'): string =>
  `00-${traceId}-${spanId}-${flags}`;

let recorded: RecordedSpans;
let position = 0;

function event(headers: Record<string, JsonValue> = {}, topic = 'item.upserted'): OutboxEvent {
  position += 1;
  return {
    position,
    topic,
    key: null,
    payload: { secret: 'of the payload' },
    headers,
    createdAt: new Date(),
  };
}

async function spanOf(
  events: readonly OutboxEvent[],
  work: () => Promise<unknown> = () => Promise.resolve(),
): Promise<ReadableSpan> {
  await inProcessSpan({ group: 'search', events }, work);
  const [span] = recorded.spans();
  if (span === undefined) throw new Error('no span was recorded');
  return span;
}

beforeEach(() => {
  recorded = recordSpans();
});
afterEach(() => {
  recorded.end();
});

describe('the span around a handler', () => {
  test('is a child of the span that emitted the one event of its batch', async () => {
    const one = event({ traceparent: traceparent(ONE) });
    const span = await spanOf([one]);
    expect(span.name).toBe('process item.upserted');
    expect(span.spanContext().traceId).toBe(ONE);
    expect(span.parentSpanContext?.spanId).toBe(SPAN);
    expect(span.links).toEqual([]);
    expect(span.attributes).toEqual({
      'messaging.system': 'pulsebox',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.consumer.group.name': 'search',
      'messaging.destination.name': 'item.upserted',
      'messaging.message.id': String(one.position),
    });
  });

  test('is a part of the trace that all events of its batch are of, with links to the other spans of it', async () => {
    const events = [SPAN, SPAN, 'bbbbbbbbbbbbbbbb'].map((id) => event({ traceparent: traceparent(ONE, id) }));
    const span = await spanOf(events);
    expect(span.spanContext().traceId).toBe(ONE);
    expect(span.links.map(({ context: { spanId } }) => spanId)).toEqual(['bbbbbbbbbbbbbbbb']);
    expect(span.attributes).toMatchObject({
      'messaging.batch.message_count': 3,
      'pulsebox.position.first': events[0]?.position,
      'pulsebox.position.last': events[2]?.position,
    });
  });

  test('begins a trace of its own for a batch of several, with a link to each that is recorded', async () => {
    const events = [
      event({ traceparent: traceparent(ONE) }),
      event({ traceparent: traceparent(OTHER, SPAN, '00') }),
      event(),
      event({ traceparent: traceparent('33333333333333333333333333333333') }, 'file.upserted'),
    ];
    const span = await spanOf(events);
    expect([ONE, OTHER]).not.toContain(span.spanContext().traceId);
    expect(span.parentSpanContext).toBeUndefined();
    expect(span.links.map((link) => [link.context.traceId, link.attributes])).toEqual([
      [ONE, { 'messaging.message.id': String(events[0]?.position) }],
      ['33333333333333333333333333333333', { 'messaging.message.id': String(events[3]?.position) }],
    ]);
    expect(span.name).toBe('process search');
    expect(span.attributes).not.toHaveProperty('messaging.destination.name');
  });

  test('has no more links than an SDK keeps', async () => {
    const ids = Array.from({ length: 300 }, (_, n) => String(n + 1).padStart(32, '0'));
    const span = await spanOf(ids.map((id) => event({ traceparent: traceparent(id) })));
    expect(span.links).toHaveLength(128);
    expect(span.droppedLinksCount).toBe(0);
  });

  test.for<JsonValue>([
    '',
    'rubbish',
    traceparent('00000000000000000000000000000000'),
    `${traceparent(ONE)}-more`,
    `ff-${ONE}-${SPAN}-01`,
    `00-${ONE}-${'0'.repeat(16)}-01`,
    `00-${ONE}-${SPAN}-1`,
    `00-${ONE}-${SPAN}-0101`,
    traceparent(ONE, 'AAAAAAAAAAAAAAAA'),
    'x'.repeat(100_000),
    42,
    null,
    { of: 'nothing' },
    [traceparent(ONE)],
  ])('takes %j for no trace', async (value) => {
    const span = await spanOf([event({ traceparent: value })]);
    expect(span.spanContext().traceId).not.toBe(ONE);
    expect(span.parentSpanContext).toBeUndefined();
    expect(span.links).toEqual([]);
  });

  test('is not recorded when the span that emitted the event is not', async () => {
    await inProcessSpan(
      { group: 'search', events: [event({ traceparent: traceparent(ONE, SPAN, '00') })] },
      () => {
        expect(traceHeaders()).toEqual({ traceparent: expect.stringMatching(`^00-${ONE}-.*-00$`) });
        return Promise.resolve();
      },
    );
    expect(recorded.spans()).toEqual([]);
  });

  test('around one event of a batch is in the trace of that event, with a link to the batch', async () => {
    const [first, second] = [
      event({ traceparent: traceparent(ONE) }),
      event({ traceparent: traceparent(OTHER) }),
    ];
    await inProcessSpan({ group: 'push', events: [first, second] }, async () => {
      await inProcessSpan({ group: 'push', events: [second] }, () => Promise.resolve());
      await inProcessSpan({ group: 'push', events: [event()] }, () => Promise.resolve());
    });
    const [ofSecond, ofUntraced, batch] = recorded.spans();
    expect(ofSecond?.spanContext().traceId).toBe(OTHER);
    expect(ofSecond?.parentSpanContext?.spanId).toBe(SPAN);
    expect(ofSecond?.links[0]?.context.spanId).toBe(batch?.spanContext().spanId);
    expect(ofUntraced?.parentSpanContext?.spanId).toBe(batch?.spanContext().spanId);
  });

  test('tells of an error by its code, and of nothing that it says', async () => {
    const fault = Object.assign(new Error('the token ya29.secret'), { code: 'ECONNREFUSED' });
    await expect(spanOf([event()], () => Promise.reject(fault))).rejects.toBe(fault);
    const [span] = recorded.spans();
    expect(span?.status).toEqual({ code: 2 });
    expect(span?.attributes['error.type']).toBe('ECONNREFUSED');
    expect(JSON.stringify([span?.attributes, span?.events, span?.status])).not.toContain('secret');
  });

  test('counts the events that the handler has reported', async () => {
    const failed = [{ position: 1, reason: 'bad', retryable: false }];
    const span = await spanOf([event()], () => Promise.resolve({ failed }));
    expect(span.attributes['pulsebox.events.failed']).toBe(1);
  });
});

describe('emit', () => {
  let db: TestDatabase;

  beforeAll(async () => {
    db = await createTestDatabase(inject('serverUrl'));
  });
  afterAll(async () => {
    await db.drop();
  });

  async function headersOf(topic: string): Promise<unknown[]> {
    const { rows } = await db.pool.query<{ headers: unknown }>(
      'select headers from outbox.event where topic = $1 order by seq',
      [topic],
    );
    return rows.map(({ headers }) => headers);
  }

  test('adds the trace that is active, and leaves headers alone that name one', async () => {
    const own = traceparent(OTHER);
    const active = await inApplicationSpan(() =>
      transaction(db.pool, async (client) => {
        await emit(client, { topic: 'a', payload: 1 });
        await emit(client, { topic: 'a', payload: 2, headers: { tenant: 'acme' } });
        await emit(client, { topic: 'a', payload: 3, headers: { traceparent: own } });
        await emitAll(client, [
          { topic: 'a', payload: 4 },
          { topic: 'a', payload: 5, headers: { tracestate: 'own=1' } },
        ]);
      }),
    );
    expect(await headersOf('a')).toEqual([
      { traceparent: active },
      { tenant: 'acme', traceparent: active },
      { traceparent: own },
      { traceparent: active },
      { tracestate: 'own=1' },
    ]);
  });

  test('hands an event that is tried again over in the trace that it was emitted in', async () => {
    let handed = 0;
    const running = runRelay({
      pool: db.pool,
      group: 'retries',
      startFrom: 'end',
      retry: { firstMs: 1, longestMs: 1 },
      handler: (_labels, { events }) => {
        handed += 1;
        if (handed < 3) throw new Error('not yet');
        expect(events).toHaveLength(1);
      },
    });
    await eventually(() => running.ticks() > 0);
    const active = await inApplicationSpan(() =>
      emit(db.pool, { topic: 'c', payload: 1 }, { autocommit: true }),
    );
    await eventually(() => running.handled.length === 1);
    await running.stop();
    const [, traceId, spanId] = active.split('-');
    const calls = recorded.spans().filter(({ name }) => name === 'process c');
    expect(calls.map((span) => [span.spanContext().traceId, span.parentSpanContext?.spanId])).toEqual(
      calls.map(() => [traceId, spanId]),
    );
    expect(calls.length).toBeGreaterThanOrEqual(3);
  });

  test('adds nothing outside of a trace, or where nobody traces', async () => {
    await emit(db.pool, { topic: 'b', payload: 1 }, { autocommit: true });
    recorded.end();
    await emit(db.pool, { topic: 'b', payload: 2 }, { autocommit: true });
    expect(await headersOf('b')).toEqual([{}, {}]);
  });
});

test('where nobody traces, a handler runs in no span, and the trace of an event can be passed on all the same', async () => {
  recorded.end();
  const one = event({ traceparent: traceparent(ONE), tracestate: 'a=1', tenant: 'acme' });
  expect(await inProcessSpan({ group: 'search', events: [one] }, () => Promise.resolve('done'))).toBe('done');
  expect(trace.getSpan(context.active())).toBeUndefined();
  expect(traceHeaders()).toBeUndefined();
  expect(traceOf(one)).toEqual({ traceparent: traceparent(ONE), tracestate: 'a=1' });
  expect(traceOf(event({ traceparent: 42 }))).toBeUndefined();
});

test.each<[string, Record<string, JsonValue>]>([
  ['of a version that cannot be', { traceparent: `ff-${ONE}-${SPAN}-01` }],
  ['in capitals', { traceparent: `00-${'A'.repeat(32)}-${SPAN}-01` }],
  ['of zeros', { traceparent: traceparent('0'.repeat(32)) }],
  ['with a line break', { traceparent: `${traceparent(ONE)}\r\nx: y` }],
  ['of a later version with a line break', { traceparent: `01-${ONE}-${SPAN}-01-x\r\nx: y` }],
  ['without an end', { traceparent: `01-${ONE}-${SPAN}-01-${'x'.repeat(1_000_000)}` }],
  ['in a list', { traceparent: [traceparent(ONE)] }],
])('a traceparent %s is passed on to nobody', (_, headers) => {
  expect(traceOf(event(headers))).toBeUndefined();
});

test.each([['a=1\r\nx: y'], ['a=ä'], [`a=${'x'.repeat(1_000_000)}`], [''], [['a=1']], [{ a: 1 }], [7]])(
  'a tracestate that no header can hold is left behind, and its traceparent passed on (%#)',
  (tracestate) => {
    const headers = { traceparent: traceparent(ONE), tracestate };
    expect(traceOf(event(headers))).toEqual({ traceparent: traceparent(ONE) });
  },
);
