import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { loopEnvironment } from '../src/index.ts';
import { runFixture } from './worker-process.ts';

interface Ran {
  code: number | null;
  text: string;
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const process = runFixture('command.ts', args, env);
  const { code } = await process.exited;
  return { code, text: process.output.join('\n') };
}

test('--help teaches: usage, flags with defaults, every variable with its meaning, exit codes', async () => {
  const { code, text } = await run(['--help'], { EXAMPLE_POLL_SECONDS: 'faulty' });
  expect(code).toBe(0);
  for (const flag of [
    '--loop',
    '--batch-size N',
    '--interval S',
    '--idle-wait S',
    '--[no-]listen-notify',
    '--version',
  ]) {
    expect(text).toContain(flag);
  }
  expect(text).toContain('(default: EXAMPLE_POLL_SECONDS, which is 1)');
  expect(text).toMatch(/--batch-size N +the most events in a batch \(of no effect in this worker\)/);
  expect(text).toContain('example-worker healthcheck [--check live|ready|startup] [--quiet]');
  expect(text).toMatch(/EXAMPLE_TOKEN +A token\. \(secret\)/);
  expect(text).toMatch(/EXAMPLE_HEALTH_PORT .*\(default 9123\)/);
  for (const [name, { description }] of Object.entries(loopEnvironment)) {
    expect(text).toContain(name);
    expect(text).toContain(description);
  }
});

test('--version says name and version', async () => {
  expect(await run(['--version'])).toEqual({ code: 0, text: 'example-worker 4.5.6' });
});

test('a command line that cannot be understood is told every fault and what there is, exit 2', async () => {
  const { code, text } = await run([
    '--lop',
    '--batch-size',
    '0',
    '--no-loop',
    'serve',
    '--loop=yes',
    '--interval',
    '--help-me',
  ]);
  expect(code).toBe(2);
  expect(text).toContain('unknown flag --lop (known: --loop --batch-size --interval');
  expect(text).toContain('expected --batch-size to be a whole number from 1 up, got "0"');
  expect(text).toContain('--interval needs a value');
  expect(text).toContain('--loop takes no value, got "yes"');
  expect(text).toContain('unknown flag --no-loop');
  expect(text).toContain('unknown command "serve" (there is: healthcheck)');
  expect(text).toContain('hint: run with --help');
  expect((await run(['healthcheck', '--check', 'dead'])).text).toContain(
    'one of live, ready, startup, got "dead"',
  );
});

test('without --loop every loop ticks once, exit 0; flags win over their variables', async () => {
  const worker = runFixture('command.ts', ['--interval', '2.5', '--no-listen-notify', '--batch-size=10'], {
    EXAMPLE_POLL_SECONDS: '7',
  });
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  const [warning, composed] = worker.lines();
  expect(warning).toMatchObject({ msg: 'flags of no effect in this worker', flags: ['--batch-size'] });
  expect(composed).toMatchObject({
    msg: 'composed',
    poll: 2.5,
    listen: false,
    flags: { loop: false, batchSize: 10, intervalSeconds: 2.5, listenNotify: false },
  });
  expect(worker.lines().at(-2)?.msg).toBe('closed');
});

test('faulty configuration is told in full before anything starts, exit 1', async () => {
  const { code, text } = await run(['--loop', '--interval', '99'], {
    EXAMPLE_LISTEN: 'perhaps',
    EXAMPLE_HEALTH_PORT: 'http',
    LOG_LEVEL: 'loud',
    WORKER_HEALTH_STALENESS_MULTIPLIER: '0',
  });
  expect(code).toBe(1);
  expect(text).toContain('expected EXAMPLE_LISTEN to be true or false, got "perhaps"');
  expect(text).toContain('expected EXAMPLE_HEALTH_PORT to be a port from 0 to 65535, got "http"');
  expect(text).toContain(
    'expected LOG_LEVEL to be one of trace, debug, info, warn, error, fatal, silent, got "loud"',
  );
  expect(text).toContain('expected WORKER_HEALTH_STALENESS_MULTIPLIER to be a number of 1 or more, got "0"');
  const wrong = await run(['--interval', '99']);
  expect(wrong).toMatchObject({ code: 1, text: expect.stringContaining('EXAMPLE_POLL_SECONDS is too long') });
});

test('a flag whose variable refuses it is called by the name of the flag', async () => {
  const { code, text } = await run(['--interval', '1e1']);
  expect(code).toBe(1);
  expect(text).toContain('expected --interval to be a positive number, got "1e1"');
});

test('a composition that fails is logged as fatal without the password, exit 1', async () => {
  const { code, text } = await run(['--loop'], { EXAMPLE_COMPOSE: 'badly' });
  expect(code).toBe(1);
  expect(text).toContain('"level":"fatal"');
  expect(text).toContain('postgres://[redacted]@db/app');
  expect(text).not.toContain('hunter2');
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} while it is composed ends it with 0: nothing was begun`, async () => {
    const worker = runFixture('command.ts', ['--loop'], { EXAMPLE_COMPOSE: 'never' });
    await worker.line(({ msg }) => msg === 'composing');
    worker.child.kill(signal);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(worker.lines().at(-1)).toMatchObject({ reason: signal, msg: expect.stringContaining('stopping') });
  });
}

test('a signal at the end of its composition is heard', async () => {
  const worker = runFixture('command.ts', ['--loop'], { EXAMPLE_COMPOSE: 'signalled' });
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test('healthcheck asks the running worker: 0 when well, 1 when not, one line, or none with --quiet', async () => {
  const worker = runFixture('command.ts', ['--loop'], { EXAMPLE_HEALTH_PORT: '0' });
  const { port } = await worker.line(({ msg }) => msg === 'started');
  await worker.healthUntil((status) => status === 200, '/health/ready');
  const env = { EXAMPLE_HEALTH_PORT: String(port) };
  for (const check of ['live', 'ready', 'startup']) {
    expect(await run(['healthcheck', '--check', check], env)).toEqual({
      code: 0,
      text: `${check}: ok (example-worker is ok)`,
    });
  }
  expect(await run(['healthcheck', '--quiet'], env)).toEqual({ code: 0, text: '' });
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  const gone = await run(['healthcheck', '--check', 'ready'], { ...env, EXAMPLE_POLL_SECONDS: 'faulty' });
  expect(gone).toEqual({ code: 1, text: `ready: no answer from 127.0.0.1:${port} (ECONNREFUSED)` });
});

test('healthcheck gives up on a port that accepts and says nothing', async () => {
  const silent = createServer();
  onTestFinished(() => void silent.close());
  silent.on('connection', (socket) => onTestFinished(() => void socket.destroy()));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const { code, text } = await run(['healthcheck'], { EXAMPLE_HEALTH_PORT: String(port) });
  expect({ code, text }).toEqual({ code: 1, text: `live: no answer from 127.0.0.1:${port} within 2 s` });
});
