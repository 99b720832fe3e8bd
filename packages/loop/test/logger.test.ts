import { expect, test } from 'vitest';
import { createLogger, LoopError, redactText } from '../src/index.ts';
import { loadPretty, prettyOptions } from '../src/log-format.ts';

function logged(write: (log: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(
    createLogger({
      worker: 'w',
      level: 'debug',
      destination: { write: (line: string) => void lines.push(line) },
    }),
  );
  return lines.map((line) => JSON.parse(line));
}

test('a line has its level as a word, its time in ISO 8601, and the worker', () => {
  const [line] = logged((log) => log.warn({ n: 1 }, 'hello'));
  expect(line).toEqual({
    level: 'warn',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    worker: 'w',
    n: 1,
    msg: 'hello',
  });
});

test('errors keep code, hint, cause and stack', () => {
  const cause = Object.assign(new Error('in use'), { code: 'EADDRINUSE' });
  const err = new LoopError('LOOP_PORT_IN_USE', 'no', { hint: 'do', cause });
  const [line] = logged((log) => log.error({ err }, 'failed'));
  expect(line).toMatchObject({
    err: {
      type: 'LoopError',
      code: 'LOOP_PORT_IN_USE',
      hint: 'do',
      message: 'no',
      stack: expect.stringContaining('logger.test.ts'),
      cause: { code: 'EADDRINUSE', message: 'in use', stack: expect.stringContaining('in use') },
    },
  });
});

test('what is away is said without a stack, however deep the reason is', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  const shuttingDown = Object.assign(new Error('the database system is shutting down'), { code: '57P03' });
  const sinkAway = Object.assign(new Error('no answer', { cause: new Error('503') }), { kind: 'away' });
  const lines = logged((log) => {
    log.error({ err: refused }, 'tick failed');
    log.error({ err: new Error('fetch failed', { cause: new TypeError('x', { cause: refused }) }) }, 'away');
    log.error({ err: shuttingDown }, 'tick failed');
    log.warn({ err: sinkAway }, 'pausing');
    log.warn({ err: new Error('Connection terminated unexpectedly') }, 'lost');
    log.error({ err: Object.assign(new Error('no such table'), { code: '42P01' }) }, 'ours');
  });
  expect(lines.map((line) => JSON.stringify(line).includes('"stack"'))).toEqual([
    ...Array.from({ length: 5 }, () => false),
    true,
  ]);
  expect(lines[1]).toMatchObject({ err: { cause: { cause: { code: 'ECONNREFUSED' } } } });
});

test('nothing secret gets through: telling names at any depth, child bindings, credentials inside texts', () => {
  const dsn = 'postgresql://app:hunter2@db:5432/x';
  const lines = logged((log) => {
    log.info(
      { password: 'hunter2', nested: { headers: [{ Authorization: 'hunter2' }], apiKey: 'hunter2' } },
      'a',
    );
    log.info({ DATABASE_URL: 'hunter2', VAPID_PRIVATE_KEY: 'hunter2', refreshToken: 'hunter2' }, 'b');
    log.error({ err: new Error(`cannot reach ${dsn}`, { cause: new Error(dsn) }) }, `at ${dsn}`);
    log.child({ token: 'hunter2', dsn }).info('child');
    log.error(new Error(dsn));
  });
  expect(lines).toHaveLength(5);
  expect(JSON.stringify(lines)).not.toContain('hunter2');
  expect(lines[2]?.['msg']).toBe('at postgresql://[redacted]@db:5432/x');
});

test('credentials with an @ or a quote in them are redacted as a whole, and what is none stays', () => {
  const texts: readonly [string, string][] = [
    ["postgres://app:a@b'c@db/x", 'postgres://[redacted]@db/x'],
    ['https://key@host, postgres://u:p@h', 'https://[redacted]@host, postgres://[redacted]@h'],
    ['https://host/a@b and https://host?mail=a@b', 'https://host/a@b and https://host?mail=a@b'],
  ];
  for (const [text, expected] of texts) expect(redactText(text)).toBe(expected);
});

test('a word of megabytes is written like any other', () => {
  for (const word of ['a', 'a.', '://', 'a://', 'a://b@', '@']) {
    const long = word.repeat(4_000_000 / word.length);
    expect(logged((log) => log.warn(long))[0]?.['msg']).toHaveLength(redactText(long).length);
  }
});

test('what cannot be written as JSON is written all the same', () => {
  const circle: Record<string, unknown> = { big: 10n, at: new Date(0) };
  circle['self'] = circle;
  const [line] = logged((log) => log.info(circle, 'round'));
  expect(line).toMatchObject({ big: '10', at: '1970-01-01T00:00:00.000Z', msg: 'round' });
});

test('for people, nobody but we begins a line or moves the terminal', () => {
  const pretty = loadPretty().prettyFactory(prettyOptions(false));
  const line = { level: 'warn', time: '2026-11-21T12:00:00.000Z', worker: 'w', loop: 'l' };
  const told = pretty({ ...line, msg: 'a\u001B[2J\r\n[12:00:00.000] ERROR: w: made up\u009B31m' });
  expect(told).toMatch(/\] WARN: w\/l: a {1,2}\[2J \n {4}\[12:00:00\.000\] ERROR: w: made up 31m\n$/);
  expect(pretty({ ...line, loop: undefined, msg: 'plain' })).toMatch(/\] WARN: w: plain\n$/);
});
