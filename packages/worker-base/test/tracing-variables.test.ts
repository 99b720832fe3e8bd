// What operators write of tracing, and what comes of it.

import { createLogger, createRegistry, parseEnvironment } from '@pulsebox/loop';
import { startOtlpCollector } from '@pulsebox/test-support';
import { trace } from '@opentelemetry/api';
import { checkTracing, openTracing, tracingVariables } from '@pulsebox/worker-base';
import type { TracingConfig } from '@pulsebox/worker-base';
import type { Tracing } from '@pulsebox/tracing';
import { expect, onTestFinished, test } from 'vitest';

const parse = (env: Readonly<Record<string, string>>): TracingConfig =>
  parseEnvironment(tracingVariables, env, { check: checkTracing });

function faultsOf(env: Readonly<Record<string, string>>): string {
  try {
    parse(env);
  } catch (error) {
    return String(error);
  }
  throw new Error('no fault was found');
}

async function open(
  env: Readonly<Record<string, string>>,
): Promise<{ readonly tracing: Tracing | undefined; readonly said: () => string }> {
  let said = '';
  const log = createLogger({ worker: 'worker', destination: { write: (line) => void (said += line) } });
  const tracing = await openTracing({
    config: parse(env),
    log,
    registry: createRegistry(),
    worker: 'worker',
    version: '1.2.3',
    requests: false,
  });
  onTestFinished(async () => tracing?.close());
  return { tracing, said: () => said };
}

test('values that cannot be are refused, all of them at once', () => {
  expect(
    faultsOf({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_TRACES_SAMPLER: 'sometimes',
      OTEL_TRACES_SAMPLER_ARG: '10%',
      OTEL_BSP_SCHEDULE_DELAY: '5s',
    }).split('\n'),
  ).toEqual([
    expect.stringContaining('OTEL_EXPORTER_OTLP_ENDPOINT to be a URL that starts with http:// or https://'),
    'expected OTEL_EXPORTER_OTLP_PROTOCOL to be one of http/protobuf, http/json, got "grpc"',
    expect.stringContaining('expected OTEL_TRACES_SAMPLER to be one of always_on, always_off'),
    'expected OTEL_TRACES_SAMPLER_ARG to be a number from 0 to 1, got "10%"',
    'expected OTEL_BSP_SCHEDULE_DELAY to be a whole number from 1 to 3600000, got "5s"',
  ]);
});

test.each([
  ['a name that HTTP has not', 'a=1,x:y=hunter2'],
  ['a value beyond Latin-1', 'a=1,x=hunter2%E2%82%AC'],
  ['a header of the request itself', 'a=1,Content-Length=hunter2'],
])('headers that no request can be sent with are refused: %s', (_, headers) => {
  const faults = faultsOf({ OTEL_EXPORTER_OTLP_HEADERS: headers });
  expect(faults).toContain(
    'expected OTEL_EXPORTER_OTLP_HEADERS to be headers that can be added to a request',
  );
  expect(faults).toContain('entry 2 is none');
  expect(faults).not.toContain('hunter2');
});

test.each(['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'])(
  'a password in %s is refused, and not shown',
  (name) => {
    const faults = faultsOf({ [name]: 'http://ann:hunter2@collector:4318' });
    expect(faults).toContain(`expected ${name} to be a URL without a user and a password`);
    expect(faults).not.toContain('hunter2');
  },
);

test('a time-out that no timer can hold is refused', () => {
  expect(faultsOf({ OTEL_EXPORTER_OTLP_TIMEOUT: '3000000000' })).toContain(
    'expected OTEL_EXPORTER_OTLP_TIMEOUT to be a whole number from 1 to 3600000',
  );
});

test('a list that cannot be read is refused by the number of its entry, and not shown', () => {
  const faults = faultsOf({ OTEL_EXPORTER_OTLP_HEADERS: 'a=1,hunter2', OTEL_RESOURCE_ATTRIBUTES: 'hunter2' });
  expect(faults).toContain('expected OTEL_EXPORTER_OTLP_HEADERS to be name=value pairs');
  expect(faults).toContain('entry 2 is none');
  expect(faults).toContain('expected OTEL_RESOURCE_ATTRIBUTES to be name=value pairs');
  expect(faults).not.toContain('hunter2');
});

test.each([
  [{}, 'OTEL_EXPORTER_OTLP_ENDPOINT is not set'],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' }, 'OTEL_SDK_DISABLED is set'],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_TRACES_EXPORTER: 'None' },
    'OTEL_TRACES_EXPORTER is none',
  ],
])('with %j tracing is off, which is said', async (env, why) => {
  const { tracing, said } = await open(env);
  expect(tracing).toBeUndefined();
  expect(said()).toContain(`tracing is off: ${why}`);
  expect(trace.getTracer('test').startSpan('none').isRecording()).toBe(false);
});

test.each(['', '/'])(
  'spans go to the path of traces below the endpoint (which ends in "%s")',
  async (end) => {
    const collector = await startOtlpCollector();
    onTestFinished(async () => collector.close());
    const { tracing, said } = await open({
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}${end}`,
      OTEL_TRACES_SAMPLER: 'always_on',
      OTEL_EXPORTER_OTLP_HEADERS: 'x-key=hunter2',
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=ignored,team=search',
      OTEL_SERVICE_NAME: 'indexing',
    });
    trace.getTracer('test').startSpan('one').end();
    await tracing?.close();
    expect(collector.spans).toMatchObject([
      { name: 'one', resource: { 'service.name': 'indexing', 'service.version': '1.2.3', team: 'search' } },
    ]);
    expect(collector.headers).toMatchObject([{ 'x-key': 'hunter2' }]);
    expect(said()).not.toContain('hunter2');
  },
);

test.each([
  ['otlp', undefined],
  ['OTLP', undefined],
  ['zipkin', '\\"zipkin\\"'],
  ['console, otlp', '\\"console\\"'],
  ['none,otlp', undefined],
])('with OTEL_TRACES_EXPORTER=%s spans go to the collector', async (exporter, ignored) => {
  const collector = await startOtlpCollector();
  onTestFinished(async () => collector.close());
  const { tracing, said } = await open({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_EXPORTER: exporter,
    OTEL_TRACES_SAMPLER: 'always_on',
  });
  trace.getTracer('test').startSpan('one').end();
  await tracing?.close();
  expect(collector.spans).toMatchObject([{ name: 'one' }]);
  if (ignored === undefined) expect(said()).not.toContain('OTEL_TRACES_EXPORTER');
  else expect(said()).toContain(`expected OTEL_TRACES_EXPORTER to be otlp or none, got ${ignored}: ignored`);
});

test('the whole address wins, and nothing is added to it', async () => {
  const collector = await startOtlpCollector();
  onTestFinished(async () => collector.close());
  const { tracing } = await open({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_TRACES_SAMPLER: 'always_on',
  });
  trace.getTracer('test').startSpan('one').end();
  await tracing?.close();
  expect(collector.spans).toMatchObject([{ name: 'one', resource: { 'service.name': 'pulsebox-worker' } }]);
});

test('a tenth is recorded unless something else is said', () => {
  expect(parse({})).toMatchObject({
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: 0.1,
  });
});
