import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startObedient, type WorkerProcess } from './worker-process.ts';

async function open(worker: WorkerProcess, text = ''): Promise<Socket> {
  const { port } = await worker.line(({ msg }) => msg === 'started');
  const socket = connect(port!, '127.0.0.1');
  socket.on('error', () => undefined); // Being cut off is what these tests are about.
  onTestFinished(() => void socket.destroy());
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  if (text !== '') socket.write(text);
  return socket;
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return text;
}

test('the report has what operators read, warnings without secrets, and may not be cached', async () => {
  const worker = await startObedient();
  await worker.healthUntil((status, { checks }) => status === 200 && checks['work']?.warnings !== undefined);
  const { headers, text } = await worker.request('/health?verbose=1');
  expect(headers['cache-control']).toBe('no-store');
  expect(headers['content-type']).toBe('application/json; charset=utf-8');
  expect(JSON.parse(text)).toMatchObject({
    status: 'ok',
    worker: 'obedient',
    version: '1.2.3',
    state: 'running',
    seconds_since_last_poll: expect.any(Number),
    uptime_seconds: expect.any(Number),
    checks: {
      'event-loop': { status: 'ok' },
      work: {
        status: 'degraded',
        stale_after_seconds: 1,
        warnings: { listen: { status: 'degraded', detail: 'polling; postgres://[redacted]@c/d is gone' } },
      },
      other: { status: 'ok' },
    },
  });
});

test('HEAD has no body, other methods are 405, other paths 404', async () => {
  const worker = await startObedient();
  const head = await worker.request('/health', 'HEAD');
  expect(head).toMatchObject({ statusCode: 200, text: '' });
  expect(Number(head.headers['content-length'])).toBeGreaterThan(0);
  expect((await worker.request('/metrics', 'HEAD')).statusCode).toBe(200);
  const post = await worker.request('/health', 'POST');
  expect(post.statusCode).toBe(405);
  expect(post.headers['allow']).toBe('GET, HEAD');
  for (const path of ['/', '/healthy', '/health/../metrics', '/__proto__', '/constructor']) {
    expect({ path, ...(await worker.request(path)) }).toMatchObject({ path, statusCode: 404 });
  }
});

test('a hundred clients that never finish their request neither slow it down nor stay', async () => {
  const worker = await startObedient();
  const slow = await Promise.all(
    Array.from({ length: 100 }, async () => open(worker, 'GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ')),
  );
  const { statusCode, tookMs } = await worker.health();
  expect(statusCode).toBe(200);
  expect(tookMs).toBeLessThan(5_000);
  // They are cut off by the server, not by us: awaited, however long it takes.
  const answers = await Promise.all(slow.map(readAll));
  expect(answers.every((text) => text === '' || text.startsWith('HTTP/1.1 408'))).toBe(true);
});

test('more clients than there are places, who all hold on to theirs, keep no probe out', async () => {
  const worker = await startObedient();
  const first = readAll(await open(worker, 'GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: '));
  await Promise.all(
    Array.from({ length: 600 }, async () => open(worker, 'GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ')),
  );
  expect((await worker.health()).statusCode).toBe(200);
  expect(await first).toMatch(/^(HTTP\/1\.1 408|$)/);
});

test('of requests that are sent all at once only the first is answered', async () => {
  const worker = await startObedient();
  const greedy = await open(worker, 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5_000));
  expect((await readAll(greedy)).match(/HTTP\/1\.1 200/g)).toHaveLength(1);
  expect((await worker.health()).statusCode).toBe(200);
});

test('a huge header is refused and the next request answered', async () => {
  const worker = await startObedient();
  const huge = await open(
    worker,
    `GET /health HTTP/1.1\r\nHost: a\r\nX-Huge: ${'x'.repeat(100_000)}\r\n\r\n`,
  );
  expect(await readAll(huge)).toMatch(/^(HTTP\/1\.1 431|$)/);
  const garbage = await open(worker, '\u0016\u0003\u0001 not http\r\n\r\n');
  expect(await readAll(garbage)).toMatch(/^(HTTP\/1\.1 400|$)/);
  expect((await worker.health()).statusCode).toBe(200);
});

test('a client that holds its connection open does not hold up the stop', async () => {
  const worker = await startObedient();
  await open(worker, 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
  await open(worker, 'GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: ');
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});
