// A process that traces, before a collector that takes spans, refuses them, or says nothing.

import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from '@opentelemetry/api';
import type { Link } from '@opentelemetry/api';
import { createLogger, createRegistry } from '@pulsebox/loop';
import type { Registry } from '@pulsebox/loop';
import { eventually, freePort, startOtlpCollector } from '@pulsebox/test-support';
import type { OtlpCollector } from '@pulsebox/test-support';
import { openTracing, traceFields } from '@pulsebox/tracing';
import type { Tracing, TracingSettings } from '@pulsebox/tracing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

let collector: OtlpCollector;
let tracing: Tracing | undefined;
let registry: Registry;
let said: string;

beforeAll(async () => {
  collector = await startOtlpCollector();
});
afterAll(async () => {
  await collector.close();
});
beforeEach(() => {
  collector.forget();
  collector.answer('taken');
  said = '';
});
afterEach(async () => {
  await tracing?.close();
  tracing = undefined;
});

async function open(more: Partial<TracingSettings> = {}, closeMs = 120_000): Promise<Tracing> {
  registry = createRegistry();
  tracing = await openTracing({
    settings: {
      url: `${collector.url}/v1/traces`,
      protocol: 'http/protobuf',
      headers: {},
      timeoutMs: 120_000,
      serviceName: 'pulsebox-worker',
      resource: {},
      sampler: 'always_on',
      ratio: 0.1,
      // Only what is closed is sent: nothing depends on when.
      delayMs: 3_600_000,
      mostSpans: 2_048,
      ...more,
    },
    version: '1.2.3',
    registry,
    log: createLogger({ worker: 'worker', destination: { write: (line) => void (said += line) } }),
    requests: true,
    closeMs,
  });
  return tracing;
}

function span(name: string, links: Link[] = [], parent = ROOT_CONTEXT): void {
  trace.getTracer('test').startSpan(name, { links }, parent).end();
}

async function counted(name: string): Promise<Record<string, number>> {
  const metric = await registry.getSingleMetric(name)?.get();
  return Object.fromEntries(
    (metric?.values ?? []).map(({ labels, value }) => [String(Object.values(labels)[0] ?? 'all'), value]),
  );
}

describe.each(['http/protobuf', 'http/json'] as const)('over %s', (protocol) => {
  test('the collector gets spans with what they say of themselves, their process and each other', async () => {
    const opened = await open({
      protocol,
      headers: { authorization: 'Bearer x' },
      resource: { 'deployment.environment.name': 'test', 'service.version': '2' },
    });
    const links = [
      { context: { traceId: '1'.repeat(32), spanId: 'a'.repeat(16), traceFlags: TraceFlags.SAMPLED } },
    ];
    trace
      .getTracer('test')
      .startActiveSpan(
        'outer',
        { kind: SpanKind.CONSUMER, links, attributes: { n: 7, of: 'x' } },
        (outer) => {
          trace.getTracer('test').startSpan('inner').setStatus({ code: SpanStatusCode.ERROR }).end();
          outer.end();
        },
      );
    await opened.close();
    expect(collector.headers[0]).toMatchObject({ authorization: 'Bearer x' });
    const [inner, outer] = collector.spans;
    expect(outer).toMatchObject({
      name: 'outer',
      kind: 'consumer',
      parentSpanId: undefined,
      attributes: { n: 7, of: 'x' },
      links: [{ traceId: '1'.repeat(32), spanId: 'a'.repeat(16) }],
      failed: false,
      resource: {
        'service.name': 'pulsebox-worker',
        'service.version': '2',
        'service.instance.id': expect.any(String),
        'deployment.environment.name': 'test',
      },
    });
    expect(inner).toMatchObject({ traceId: outer?.traceId, parentSpanId: outer?.spanId, failed: true });
    expect(await counted('tracing_spans_exported_total')).toEqual({ all: 2 });
  });
});

describe('sampling', () => {
  async function sampled(more: Partial<TracingSettings>, make: () => void): Promise<number> {
    const opened = await open({ mostSpans: 100_000, ...more });
    make();
    await opened.close();
    return collector.spans.length;
  }
  const linkTo = (traceFlags: TraceFlags): Link => ({
    context: { traceId: '1'.repeat(32), spanId: 'a'.repeat(16), traceFlags },
  });
  const parentWith = (traceFlags: TraceFlags): typeof ROOT_CONTEXT =>
    trace.setSpanContext(ROOT_CONTEXT, { ...linkTo(traceFlags).context, isRemote: true });
  const byDefault = { sampler: 'parentbased_traceidratio', ratio: 0.1 } as const;

  test('takes about the share of the traces that begin here', async () => {
    const taken = await sampled(byDefault, () => {
      for (let n = 0; n < 4_000; n += 1) span('root');
    });
    expect(taken).toBeGreaterThan(250);
    expect(taken).toBeLessThan(600);
  });

  test('takes what the parent takes, and nothing that it does not', async () => {
    const taken = await sampled({ ...byDefault, ratio: 0 }, () => {
      span('of a sampled one', [], parentWith(TraceFlags.SAMPLED));
    });
    expect(taken).toBe(1);
    collector.forget();
    const left = await sampled({ ...byDefault, ratio: 1 }, () => {
      span('of one that is not', [], parentWith(TraceFlags.NONE));
    });
    expect(left).toBe(0);
  });

  test('takes a batch of several traces when one of them is taken, and not when none is', async () => {
    const taken = await sampled({ ...byDefault, ratio: 0 }, () => {
      span('one is', [linkTo(TraceFlags.NONE), linkTo(TraceFlags.SAMPLED)]);
    });
    expect(taken).toBe(1);
    collector.forget();
    const left = await sampled({ ...byDefault, ratio: 1 }, () => span('none is', [linkTo(TraceFlags.NONE)]));
    expect(left).toBe(0);
  });

  test.each([
    ['always_on', 1, 1],
    ['always_off', 0, 0],
    ['parentbased_always_on', 1, 0],
    ['parentbased_always_off', 0, 0],
    ['traceidratio', 1, 1],
  ] as const)(
    '%s takes %i that begins here, %i of a trace that is not taken',
    async (sampler, roots, children) => {
      const taken = await sampled({ sampler, ratio: 1 }, () => {
        span('root');
        span('child', [], parentWith(TraceFlags.NONE));
      });
      expect(taken).toBe(roots + children);
    },
  );
});

describe('a collector that is away', () => {
  test('for a moment is asked again', async () => {
    collector.answer(503);
    await open({ delayMs: 1 });
    span('patient');
    await eventually(() => collector.headers.length > 0);
    collector.answer('taken');
    await eventually(() => collector.spans.length === 1);
    expect(await counted('tracing_spans_dropped_total')).toMatchObject({ export_failed: 0 });
  });

  test('costs the spans, which are counted, and is said once', async () => {
    collector.answer(400);
    await open({ delayMs: 1 });
    for (const n of [1, 2]) {
      span('lost');
      await eventually(async () => (await counted('tracing_spans_dropped_total'))['export_failed'] === n);
    }
    expect(said.match(/takes no spans/g)).toHaveLength(1);
    expect(said).toContain('HTTP status 400');
    collector.answer('taken');
    span('taken');
    await eventually(() => collector.spans.length === 1);
    await eventually(() => said.includes('takes spans again'));
  });

  test('or sends elsewhere is not followed, and not asked again', async () => {
    collector.answer(307);
    await open({ delayMs: 1 });
    span('lost');
    await eventually(async () => (await counted('tracing_spans_dropped_total'))['export_failed'] === 1);
    expect(said).toContain('HTTP status 307');
    expect(collector.headers).toHaveLength(1);
  });

  test('fills no memory: more spans than may wait are dropped and counted', async () => {
    collector.answer('silence');
    const opened = await open({ mostSpans: 10 }, 1);
    for (let n = 0; n < 25; n += 1) span('many');
    expect(await counted('tracing_spans_dropped_total')).toMatchObject({ queue_full: 15 });
    await opened.close();
    expect(await counted('tracing_spans_dropped_total')).toMatchObject({ queue_full: 15, stopped: 10 });
    expect(said).toContain('did not reach the collector');
  });

  test('holds up nobody who closes, however often, and what ends later is counted', async () => {
    collector.answer('silence');
    const opened = await open({ delayMs: 1 }, 50);
    const late = trace.getTracer('test').startSpan('late');
    span('under way');
    await eventually(() => collector.headers.length > 0);
    await Promise.all([opened.close(), opened.close()]);
    late.end();
    expect(await counted('tracing_spans_dropped_total')).toMatchObject({ stopped: 2 });
  });
});

test.each([
  ['1', 1],
  ['1000000', 2],
  [-7, 0],
  ['several', 0],
  [null, 0],
])('a collector that takes spans but %j of them drops as many as there can be', async (rejected, dropped) => {
  collector.answer({ partialSuccess: { rejectedSpans: rejected } });
  const opened = await open({ protocol: 'http/json' });
  span('one');
  span('other');
  await opened.close();
  expect(await counted('tracing_spans_dropped_total')).toMatchObject({ export_failed: dropped, stopped: 0 });
  expect(await counted('tracing_spans_exported_total')).toEqual({ all: 2 - dropped });
  expect(said).toBe('');
});

describe('requests', () => {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers);
    response.writeHead(request.url === '/missing' ? 404 : 200).end('{}');
  });
  let origin: string;

  beforeAll(async () => {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    seen.length = 0;
  });

  async function inSpan(work: () => Promise<unknown>): Promise<void> {
    await trace.getTracer('test').startActiveSpan('handler', async (handler) => {
      await work();
      handler.end();
    });
  }

  test('within a span have one of their own, and carry its trace, each in its own', async () => {
    const opened = await open();
    await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        inSpan(async () => (await fetch(`${origin}/mailboxes/7/secret?key=${n}`)).text()),
      ),
    );
    await opened.close();
    const requests = collector.spans.filter(({ kind }) => kind === 'client');
    expect(requests).toHaveLength(8);
    for (const request of requests) {
      const handler = collector.spans.find(({ spanId }) => spanId === request.parentSpanId);
      expect(handler).toMatchObject({ name: 'handler', traceId: request.traceId });
      expect(seen.map(({ traceparent }) => traceparent)).toContain(
        `00-${request.traceId}-${request.spanId}-01`,
      );
      expect(request.attributes).toEqual({
        'http.request.method': 'GET',
        'http.response.status_code': 200,
        'server.address': '127.0.0.1',
        'server.port': Number(new URL(origin).port),
      });
    }
    expect(JSON.stringify(collector.spans)).not.toContain('secret');
  });

  test('that fail say how', async () => {
    const opened = await open();
    await inSpan(async () => (await fetch(`${origin}/missing`)).text());
    const nobodys = `http://127.0.0.1:${await freePort()}`;
    await inSpan(() => fetch(nobodys).catch(() => undefined));
    await opened.close();
    const failed = collector.spans.filter(({ kind }) => kind === 'client');
    expect(failed.map(({ failed: has, attributes }) => [has, attributes['error.type']])).toEqual([
      [true, '404'],
      [true, expect.any(String)],
    ]);
  });

  test('outside of a span, or after the end, are left alone; one that is not sampled says so', async () => {
    const opened = await open({ sampler: 'always_off' });
    await (await fetch(origin)).text();
    await inSpan(async () => (await fetch(origin)).text());
    await opened.close();
    await (await fetch(origin)).text();
    expect(seen.map(({ traceparent }) => traceparent)).toEqual([
      undefined,
      expect.stringMatching(/-00$/),
      undefined,
    ]);
    expect(collector.spans).toEqual([]);
  });
});

test('a line of the log names the span that it was written in', async () => {
  await open();
  const log = createLogger({
    worker: 'worker',
    fields: traceFields,
    destination: { write: (line) => void (said += line) },
  });
  log.info('outside');
  trace.getTracer('test').startActiveSpan('inside', (inside) => {
    log.child({ loop: 'search' }).info({ of: 'x' }, 'inside');
    const { traceId, spanId } = inside.spanContext();
    expect(said).toContain(`"trace_id":"${traceId}","span_id":"${spanId}"`);
    inside.end();
  });
  expect(said.split('\n')[0]).not.toContain('trace_id');
});

test('leaves the process as it was', async () => {
  const opened = await open();
  await opened.close();
  expect(propagation.fields()).toEqual([]);
  expect(trace.getTracer('test').startSpan('none').isRecording()).toBe(false);
  expect(context.active()).toBe(ROOT_CONTEXT);
});
