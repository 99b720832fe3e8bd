import { connect } from 'node:net';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createWorker, LoopError, type Loop, type WorkerOptions } from '../src/index.ts';

const log = pino({ level: 'silent' });
const idle: Loop = { name: 'idle', cadenceMs: 1_000, tick: async () => undefined };

function options(more: Partial<WorkerOptions> = {}): WorkerOptions {
  return {
    name: 'embedded',
    version: '1.0.0',
    port: 0,
    host: '127.0.0.1',
    loops: [idle],
    once: false,
    log,
    stalenessMultiplier: 3,
    ...more,
  };
}

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(true));
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
  });
}

test('start and stop in any order and number: every worker ends with 0, closes once, and leaves no port', async () => {
  // s: start, S: stop, all called in the same instant.
  const orders = ['s', 'S', 'sS', 'Ss', 'sSsS', 'ssSS', 'SsSs', 'SSSss', 'sSS', 'ssS'];
  const runs = Array.from({ length: 3 }, () => orders).flat();
  for (const order of runs) {
    let closes = 0;
    let stops = 0;
    const worker = createWorker(
      options({
        loops: [
          { ...idle, stop: async () => void (stops += 1) },
          { ...idle, name: 'busy', tick: async () => ({ events: 1 }) },
        ],
        close: async () => void (closes += 1),
      }),
    );
    await Promise.all(order.split('').map(async (step) => (step === 's' ? worker.start() : worker.stop())));
    await worker.stop();
    const exitCode = await worker.finished;
    await worker.start();
    const listens = worker.port !== undefined && !(await refuses(worker.port));
    expect({ order, exitCode, closes, listens }).toEqual({ order, exitCode: 0, closes: 1, listens: false });
    expect(stops).toBeLessThanOrEqual(1);
  }
});

test('a stop that fails or hangs is said, does not hold up the rest, and makes the exit code 1', async () => {
  let closed = false;
  const worker = createWorker(
    options({
      closeMs: 100,
      loops: [
        { ...idle, stop: async () => Promise.reject(new Error('no')) },
        { ...idle, name: 'hangs', stop: async () => new Promise(() => undefined) },
      ],
      close: async () => void (closed = true),
    }),
  );
  await worker.start();
  await worker.stop();
  expect(await worker.finished).toBe(1);
  expect(closed).toBe(true);
});

test('a rest of its own wakes a loop early, and ends when the worker stops', async () => {
  const rests: number[] = [];
  const woken = Promise.withResolvers<void>();
  let ticks = 0;
  const resting = Promise.withResolvers<void>();
  const again = Promise.withResolvers<void>();
  const worker = createWorker(
    options({
      loops: [
        {
          name: 'woken',
          cadenceMs: 3_600_000,
          async tick() {
            ticks += 1;
            if (ticks === 2) again.resolve();
            return { events: 0, nextInMs: 1_800_000 };
          },
          rest: (ms, signal) =>
            new Promise((resolve, reject) => {
              rests.push(ms);
              void woken.promise.then(resolve);
              signal.addEventListener('abort', () => reject(signal.reason as Error));
              resting.resolve();
            }),
        },
      ],
    }),
  );
  await worker.start();
  await resting.promise;
  woken.resolve();
  await again.promise;
  await worker.stop();
  expect(rests[0]).toBe(1_800_000);
  expect(await worker.finished).toBe(0);
});

test('a tick never runs beside itself, and one that always has events starves no timer', async () => {
  let running = 0;
  let most = 0;
  const worker = createWorker(
    options({
      loops: [
        {
          ...idle,
          async tick() {
            running += 1;
            most = Math.max(most, running);
            await Promise.resolve();
            running -= 1;
            return { events: 1 };
          },
        },
      ],
    }),
  );
  await worker.start();
  await new Promise((resolve) => setTimeout(resolve, 50)); // Fires only when the loop lets it.
  await worker.stop();
  expect(most).toBe(1);
});

test('a result that is no tick result is a failed tick', async () => {
  for (const result of [{ events: -1 }, { events: 1.5 }, { events: 0, nextInMs: Number.NaN }]) {
    const worker = createWorker(options({ once: true, loops: [{ ...idle, tick: async () => result }] }));
    await worker.start();
    expect(await worker.finished).toBe(1);
  }
});

test('a faulty composition is refused with every fault at once', () => {
  const faulty = options({
    name: 'Not A Label',
    stalenessMultiplier: 0.5,
    loops: [
      { ...idle, cadenceMs: 0 },
      { ...idle, deadlineMs: -1 },
      { ...idle, name: 'event-loop' },
    ],
  });
  expect(() => createWorker(faulty)).toThrow(LoopError);
  expect(() => createWorker(faulty)).toThrow(
    /"Not A Label".*stalenessMultiplier.*cadenceMs of the loop idle.*two loops.*deadlineMs.*event-loop is taken/s,
  );
  expect(() => createWorker(options({ loops: [] }))).toThrow('expected at least one loop');
});
