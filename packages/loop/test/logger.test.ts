import { expect, test } from 'vitest';
import { createLogger, LoopError } from '../src/index.ts';

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
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  const err = new LoopError('LOOP_PORT_IN_USE', 'no', { hint: 'do', cause });
  const [line] = logged((log) => log.error({ err }, 'failed'));
  expect(line).toMatchObject({
    err: {
      type: 'LoopError',
      code: 'LOOP_PORT_IN_USE',
      hint: 'do',
      message: 'no',
      stack: expect.stringContaining('logger.test.ts'),
      cause: { code: 'ECONNREFUSED', message: 'refused' },
    },
  });
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

test('what cannot be written as JSON is written all the same', () => {
  const circle: Record<string, unknown> = { big: 10n, at: new Date(0) };
  circle['self'] = circle;
  const [line] = logged((log) => log.info(circle, 'round'));
  expect(line).toMatchObject({ big: '10', at: '1970-01-01T00:00:00.000Z', msg: 'round' });
});
