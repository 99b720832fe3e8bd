import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { metric, runFixture, startObedient } from './worker-process.ts';

const folder = mkdtempSync(join(tmpdir(), 'pulsebox-stalls-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('an endless synchronous loop is a 503 in time, answered fast, named, with its stack, and forgiven when over', async () => {
  const worker = await startObedient({ cadenceMs: 200, stalenessMultiplier: 1 });
  await worker.healthUntil((status) => status === 200, '/health/ready');
  const file = join(folder, 'go-on');

  worker.tell({ do: 'spin', file });
  const first = await worker.healthUntil((status) => status === 503);
  // The stale time is 1 s here, and what is stuck is found within one more; the rest is for a machine that is busy.
  const stuck = Object.values(first.checks).filter(({ status }) => status === 'stuck');
  expect(Math.max(...stuck.map((check) => check.seconds_since_beat))).toBeLessThan(10);
  const line = await worker.line(({ msg }) => msg.startsWith('stuck'));

  const slowest: number[] = [];
  for (let i = 0; i < 20; i += 1) slowest.push((await worker.health()).tookMs);
  // 100 ms are promised; what is asked here is whether the answer waits for the main thread.
  expect(slowest.toSorted((a, b) => a - b).at(10)).toBeLessThan(1_000);

  const all = await worker.healthUntil((_, body) => body.checks['work']?.status === 'stuck');
  expect(all.status).toBe('stuck');
  expect(all.checks['event-loop']).toMatchObject({ status: 'stuck', blocked_by: 'work' });
  for (const path of ['/health/live', '/health/ready', '/health/startup']) {
    expect({ path, ...(await worker.health(path)) }).toMatchObject({ path, statusCode: 503 });
  }
  expect(line).toMatchObject({ level: 'error', worker: 'obedient' });
  expect(line.msg).toBe('stuck: the main thread is blocked by the loop work');
  expect(line.err?.stack).toContain('spinUntil');
  expect(line.err?.stack).toContain('obedient-worker.ts');

  const { statusCode, text } = await worker.request('/metrics');
  expect(statusCode).toBe(200);
  expect(metric(text, 'worker_up{worker="obedient"}')).toBe(0);
  expect(metric(text, 'worker_ready{worker="obedient"}')).toBe(0);
  expect(metric(text, 'worker_loop_up{worker="obedient",loop="work"}')).toBe(0);
  expect(metric(text, 'worker_event_loop_beat_age_seconds{worker="obedient"}')).toBeGreaterThan(1);
  expect(metric(text, 'worker_batches_total{worker="obedient"}')).toBe(0);

  writeFileSync(file, '');
  await worker.healthUntil((status) => status === 200);
  await worker.healthUntil((status) => status === 200, '/health/ready');
  await worker.line(({ msg }) => msg === 'turning again');
  expect(worker.lines().filter(({ msg }) => msg.startsWith('stuck'))).toHaveLength(1);
  const after = await worker.request('/metrics');
  expect(metric(after.text, 'worker_up{worker="obedient"}')).toBe(1);
  expect(metric(after.text, 'worker_stalls_total{worker="obedient"}')).toBe(1);

  // The inspector's pause is gone without a trace: the process ends by itself, waiting for no debugger.
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.output.join('\n')).not.toContain('ebugger');
});

test('a main thread blocked in native code is a 503 too, and goes on unpaused', async () => {
  const worker = await startObedient();
  worker.tell({ do: 'block-natively', ms: 3_000 });
  await worker.healthUntil((status) => status === 503);
  const line = await worker.line(({ msg }) => msg.startsWith('stuck'));
  expect(line.hint).toBe('no JavaScript stack: it is in native code');
  await worker.healthUntil((status) => status === 200);
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test('a tick that never settles is a 503 that names its loop, and is not started a second time', async () => {
  const worker = await startObedient({ deadlineMs: 500, drainMs: 100 });
  worker.tell({ do: 'hang' });
  const body = await worker.healthUntil((status) => status === 503);
  expect(body.checks['work']).toMatchObject({ status: 'stuck', phase: 'ticking' });
  expect(body.checks['other']?.status).toBe('ok');
  expect(body.checks['event-loop']?.status).toBe('ok');
  const line = await worker.line(({ msg }) => msg.startsWith('stuck'));
  expect(line).toMatchObject({ stuck: ['work'], level: 'error' });
  expect(line.msg).toContain('neither ended nor called progress()');

  await worker.line(({ err }) => err?.code === 'LOOP_TICK_DEADLINE');
  const ticks = worker.lines().filter(({ msg }) => msg === 'tick').length;
  const { text } = await worker.request('/metrics');
  expect(metric(text, 'worker_up{worker="obedient"}')).toBe(0);
  expect(metric(text, 'worker_errors_total{worker="obedient"}')).toBe(1);
  expect(worker.lines().filter(({ msg }) => msg === 'tick')).toHaveLength(ticks);

  // Nor does it hold up the stop for ever: it is left behind, and the exit code says so.
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.lines().some(({ err }) => err?.code === 'LOOP_TICK_ABANDONED')).toBe(true);
  expect(worker.lines().some(({ msg }) => msg === 'work stopped')).toBe(false);
});

test('an idle loop that rests longer than the stale time of another is healthy', async () => {
  const worker = await startObedient({ cadenceMs: 60_000, otherCadenceMs: 60_000 });
  // A rest of a minute, watched for longer than the least stale time.
  const until = performance.now() + 2_500;
  while (performance.now() < until) expect((await worker.health()).statusCode).toBe(200);
  expect((await worker.health('/health/ready')).statusCode).toBe(200);
});

test('a stopped and continued process (SIGSTOP, SIGCONT) is healthy at once', async () => {
  const worker = await startObedient();
  await worker.healthUntil((status) => status === 200, '/health/ready');
  worker.child.kill('SIGSTOP');
  // The one wait that nothing can signal: time must pass while the process does not run.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  worker.child.kill('SIGCONT');
  for (let i = 0; i < 30; i += 1) expect((await worker.health()).statusCode).toBe(200);
  expect((await worker.health('/health/ready')).statusCode).toBe(200);
  expect(worker.lines().some(({ msg }) => msg.startsWith('stuck'))).toBe(false);
});

test('people can read the stall in pretty logs', async () => {
  const worker = runFixture('obedient-worker.ts', [JSON.stringify({ logFormat: 'pretty' })]);
  await worker.said('started');
  const file = join(folder, 'pretty');
  worker.tell({ do: 'spin', file });
  await worker.said('obedient: stuck: the main thread is blocked by the loop work');
  await worker.said('at spinUntil');
  writeFileSync(file, '');
  await worker.said('obedient: turning again');
  expect(worker.lines()).toEqual([]); // Not one line of JSON among them.
});
