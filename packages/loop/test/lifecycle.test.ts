import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { metric, runFixture, startObedient, type WorkerProcess } from './worker-process.ts';

function indexOf(worker: WorkerProcess, msg: string): number {
  return worker.lines().findIndex((line) => line.msg === msg);
}

function ticksOf(worker: WorkerProcess): number {
  return worker.lines().filter(({ msg, loop }) => msg === 'tick' && loop === 'work').length;
}

test('SIGTERM in mid-batch: unready first, the batch ends, the loop stops, the pool closes, the sidecar last, exit 0', async () => {
  const worker = await startObedient({ holdClose: true });
  await worker.healthUntil((status) => status === 200, '/health/ready');
  worker.tell({ do: 'hold', progress: true });
  await worker.line(({ msg }) => msg === 'holding');
  const ticks = ticksOf(worker);

  worker.child.kill('SIGTERM');
  const unready = await worker.healthUntil((status) => status === 503, '/health/ready');
  expect(unready).toMatchObject({
    status: 'unready',
    state: 'draining',
    reasons: ['the worker is stopping'],
  });
  expect((await worker.health('/health')).statusCode).toBe(200);
  expect((await worker.health('/health/live')).statusCode).toBe(200);
  expect(indexOf(worker, 'released')).toBe(-1);

  worker.tell({ do: 'idle' });
  await worker.line(({ msg }) => msg === 'pool closing');
  expect((await worker.health('/health')).statusCode).toBe(200);
  worker.tell({ do: 'idle' });
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(indexOf(worker, 'something holds the process open: ending it')).toBe(-1);
  const order = ['stopping', 'released', 'work stopped', 'pool closed', 'stopped'].map((msg) =>
    indexOf(worker, msg),
  );
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(order).not.toContain(-1);
  expect(worker.lines().filter(({ msg, loop }) => msg === 'tick' && loop === 'work')).toHaveLength(ticks);
});

test('a batch that outlives the drain time is aborted and given up, which is no error: exit 0', async () => {
  const worker = await startObedient({ drainMs: 200 });
  worker.tell({ do: 'hold', progress: true });
  await worker.line(({ msg }) => msg === 'holding');
  worker.child.kill('SIGINT');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.lines().some(({ err }) => err?.code === 'LOOP_DRAIN_DEADLINE')).toBe(true);
  expect(indexOf(worker, 'tick given up: the drain time is over')).toBeGreaterThan(-1);
  expect(indexOf(worker, 'work stopped')).toBeGreaterThan(-1);
});

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  test(`a second ${signal} ends the worker at once with ${code}`, async () => {
    const worker = await startObedient();
    worker.tell({ do: 'hold', ignoreAbort: true });
    await worker.line(({ msg }) => msg === 'holding');
    // Again and again: two within 200 ms are one wish that was delivered twice.
    const impatience = setInterval(() => worker.child.kill(signal), 50);
    expect(await worker.exited).toEqual({ code, signal: null });
    clearInterval(impatience);
    expect(indexOf(worker, 'pool closed')).toBe(-1);
  });
}

test('two signals in the same instant are one: the batch still ends', async () => {
  const worker = await startObedient();
  worker.tell({ do: 'hold' });
  await worker.line(({ msg }) => msg === 'holding');
  worker.child.kill('SIGINT');
  worker.child.kill('SIGTERM');
  await worker.line(({ msg }) => msg === 'stopping');
  worker.tell({ do: 'idle' });
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(indexOf(worker, 'released')).toBeGreaterThan(-1);
});

test('a loop that ends unasked ends the process at once with 1', async () => {
  const worker = runFixture('obedient-worker.ts', [JSON.stringify({ brokenRest: true })]);
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  const last = worker.lines().find(({ level }) => level === 'fatal');
  expect(last?.err).toMatchObject({ code: 'LOOP_ENDED_UNASKED', cause: { message: 'rest is broken' } });
  expect(last?.msg).toContain('work');
});

test('a worker without its sidecar ends at once with 1', async () => {
  const worker = await startObedient();
  worker.tell({ do: 'kill-sidecar' });
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.lines().find(({ level }) => level === 'fatal')?.err?.code).toBe('LOOP_SIDECAR_DIED');
});

test('a rejection that nobody handles is logged as fatal and ends the process with 1', async () => {
  const worker = await startObedient();
  worker.tell({ do: 'unhandled' });
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.lines().at(-1)).toMatchObject({ level: 'fatal', err: { message: 'nobody handles me' } });
});

test('while its ticks fail it is alive but not ready, and carries on afterwards', async () => {
  const worker = await startObedient();
  await worker.healthUntil((status) => status === 200, '/health/ready');
  worker.tell({ do: 'fail' });
  const unready = await worker.healthUntil((status) => status === 503, '/health/ready');
  expect(unready.reasons?.[0]).toMatch(/^the last successful tick of work was [\d.]+ s ago/);
  for (const path of ['/health', '/health/live', '/health/startup']) {
    expect({ path, ...(await worker.health(path)) }).toMatchObject({ path, statusCode: 200 });
  }
  const failing = await worker.request('/metrics');
  expect(metric(failing.text, 'worker_errors_total{worker="obedient"}')).toBeGreaterThan(0);
  expect(metric(failing.text, 'worker_up{worker="obedient"}')).toBe(1);
  expect(metric(failing.text, 'worker_ready{worker="obedient"}')).toBe(0);
  expect(worker.output.join('\n')).not.toContain('hunter2');
  expect((await worker.request('/health')).text).not.toContain('database is away');

  worker.tell({ do: 'idle' });
  await worker.healthUntil((status) => status === 200, '/health/ready');
  await worker.line(({ msg }) => msg === 'ticks succeed again');
  // Said once: from then on the failures are forgotten, and the next one would wait as the first did.
  const ticks = ticksOf(worker);
  await eventually(() => ticksOf(worker) > ticks + 2);
  expect(worker.lines().filter(({ msg }) => msg === 'ticks succeed again')).toHaveLength(1);
});

test('a long batch that makes progress is healthy and ready beyond the stale time', async () => {
  const worker = await startObedient();
  worker.tell({ do: 'hold', progress: true });
  await worker.line(({ msg }) => msg === 'holding');
  const until = performance.now() + 2_500;
  while (performance.now() < until) expect((await worker.health()).statusCode).toBe(200);
  expect((await worker.health('/health/ready')).statusCode).toBe(200);
  worker.tell({ do: 'idle' });
  await worker.line(({ msg }) => msg === 'released');
});

test('a batch past its deadline is aborted, counted as an error and tried again', async () => {
  const worker = await startObedient({ deadlineMs: 300 });
  worker.tell({ do: 'hold', progress: true });
  const late = await worker.line(({ err }) => err?.code === 'LOOP_TICK_DEADLINE');
  expect(late.loop).toBe('work');
  await worker.line(() => worker.lines().filter(({ msg }) => msg === 'holding').length >= 2);
  const { text } = await worker.request('/metrics');
  expect(metric(text, 'worker_errors_total{worker="obedient"}')).toBeGreaterThan(0);
  expect(metric(text, 'worker_events_total{worker="obedient"}')).toBe(0);
});

test('a batch past its deadline that only pretends to make progress is stuck', async () => {
  const worker = await startObedient({ deadlineMs: 300 });
  worker.tell({ do: 'hold', progress: true, ignoreAbort: true });
  const body = await worker.healthUntil((status) => status === 503);
  expect(body.checks['work']?.status).toBe('stuck');
});

test('batches and events are counted, empty polls are not', async () => {
  const worker = await startObedient();
  await worker.healthUntil((status) => status === 200, '/health/ready');
  const before = await worker.request('/metrics');
  expect(metric(before.text, 'worker_batches_total{worker="obedient"}')).toBe(0);
  worker.tell({ do: 'handle', events: 7 });
  let text = before.text;
  while (metric(text, 'worker_batches_total{worker="obedient"}') === 0)
    ({ text } = await worker.request('/metrics'));
  const batches = metric(text, 'worker_batches_total{worker="obedient"}')!;
  expect(metric(text, 'worker_events_total{worker="obedient"}')).toBe(7 * batches);
  expect(metric(text, 'worker_batch_duration_seconds_count{worker="obedient"}')).toBe(batches);
});

test('a port in use is named with the variable to change, and exits 1', async () => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const { port } = squatter.address() as AddressInfo;
  const worker = runFixture('obedient-worker.ts', [JSON.stringify({ port })]);
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  squatter.close();
  const fatal = worker.lines().find(({ level }) => level === 'fatal');
  expect(fatal?.err?.code).toBe('LOOP_PORT_IN_USE');
  expect(fatal?.err?.message).toContain(`port ${port}`);
  expect(fatal?.err?.hint).toContain('OBEDIENT_PORT');
  expect(indexOf(worker, 'pool closed')).toBeGreaterThan(-1);
});

test('once: every loop ticks exactly once and the process ends with 0', async () => {
  const worker = runFixture('obedient-worker.ts', [
    JSON.stringify({ once: true, behaviour: { do: 'handle', events: 2 } }),
  ]);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.lines().filter(({ msg }) => msg === 'tick')).toHaveLength(1);
  expect(indexOf(worker, 'started')).toBe(-1);
  expect(indexOf(worker, 'work stopped')).toBeGreaterThan(-1);
  expect(indexOf(worker, 'pool closed')).toBeGreaterThan(-1);
});

test('once: a tick that fails ends the process with 1', async () => {
  const worker = runFixture('obedient-worker.ts', [
    JSON.stringify({ once: true, behaviour: { do: 'fail' } }),
  ]);
  expect(await worker.exited).toEqual({ code: 1, signal: null });
});
