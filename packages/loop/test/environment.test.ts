import { expect, expectTypeOf, test } from 'vitest';
import { env, LoopError, parseEnvironment } from '../src/index.ts';

const schema = {
  OUTBOX_WORKER_POLL_SECONDS: env.seconds({ description: 'Poll.', default: 1 }),
  OUTBOX_MAX_ATTEMPTS: env.integer({ description: 'Attempts.', default: 5, min: 1, max: 100 }),
  OUTBOX_WORKER_LISTEN_NOTIFY: env.boolean({ description: 'Listen.', default: true }),
  MEILI_URL: env.optional(env.url({ description: 'Meilisearch.' })),
  MEILI_API_KEY: env.optional(env.secret({ description: 'Its key.' })),
  DATABASE_URL: env.url({ description: 'Database.', protocols: ['postgres:', 'postgresql:'], secret: true }),
  WORKER_HEALTH_PORT: env.port({ description: 'Port.', default: 9090 }),
  MODE: env.oneOf(['fast', 'safe'], { description: 'Mode.', default: 'safe' }),
  NAME: env.string({ description: 'Name.' }),
  FACTOR: env.positiveNumber({ description: 'Factor.', default: 3, min: 1 }),
} as const;

const good = { DATABASE_URL: 'postgres://u:secret@db/app', NAME: 'a' };

function faultsOf(record: Record<string, string>): string {
  try {
    parseEnvironment(schema, record);
  } catch (error) {
    if (error instanceof LoopError && error.code === 'LOOP_ENV_INVALID') return error.message;
    throw error;
  }
  throw new Error('no fault was found');
}

test('values are typed, and defaults are taken where nothing is set', () => {
  const config = parseEnvironment(schema, {
    ...good,
    OUTBOX_WORKER_LISTEN_NOTIFY: 'Off',
    MODE: 'FAST',
    MEILI_URL: '',
  });
  expect(config).toEqual({
    OUTBOX_WORKER_POLL_SECONDS: 1,
    OUTBOX_MAX_ATTEMPTS: 5,
    OUTBOX_WORKER_LISTEN_NOTIFY: false,
    MEILI_URL: undefined,
    MEILI_API_KEY: undefined,
    DATABASE_URL: 'postgres://u:secret@db/app',
    WORKER_HEALTH_PORT: 9090,
    MODE: 'fast',
    NAME: 'a',
    FACTOR: 3,
  });
  expectTypeOf(config.MODE).toEqualTypeOf<'fast' | 'safe'>();
  expectTypeOf(config.MEILI_URL).toEqualTypeOf<string | undefined>();
  expectTypeOf(config.OUTBOX_MAX_ATTEMPTS).toEqualTypeOf<number>();
});

test('a fault has a code and says where to look', () => {
  expect(() => parseEnvironment(schema, {})).toThrow(
    expect.objectContaining({ code: 'LOOP_ENV_INVALID', hint: expect.stringContaining('--help') }),
  );
});

test('every fault is reported at once, in the words of a person', () => {
  const faults = faultsOf({
    OUTBOX_WORKER_POLL_SECONDS: 'fast',
    OUTBOX_MAX_ATTEMPTS: '0',
    OUTBOX_WORKER_LISTEN_NOTIFY: 'maybe',
    MEILI_URL: 'ftp://u:hunter2@x',
    DATABASE_URL: 'mysql://root:hunter2@db/app',
    WORKER_HEALTH_PORT: '70000',
    MODE: 'slow',
    FACTOR: '0.5',
  });
  expect(faults.split('\n')).toEqual([
    'expected OUTBOX_WORKER_POLL_SECONDS to be a positive number, got "fast"',
    'expected OUTBOX_MAX_ATTEMPTS to be a whole number from 1 to 100, got "0"',
    'expected OUTBOX_WORKER_LISTEN_NOTIFY to be true or false, got "maybe"',
    'expected MEILI_URL to be a URL that starts with http:// or https://, got "ftp://[redacted]@x"',
    'expected DATABASE_URL to be a URL that starts with postgres:// or postgresql:// (its value is not shown)',
    'expected WORKER_HEALTH_PORT to be a port from 0 to 65535, got "70000"',
    'expected MODE to be one of fast, safe, got "slow"',
    'expected NAME to be a text, but it is not set',
    'expected FACTOR to be a number of 1 or more, got "0.5"',
  ]);
});

test('an empty or blank value counts as unset', () => {
  expect(faultsOf({ ...good, NAME: '  ' })).toBe('expected NAME to be a text, but it is not set');
  expect(parseEnvironment(schema, { ...good, OUTBOX_MAX_ATTEMPTS: '' }).OUTBOX_MAX_ATTEMPTS).toBe(5);
});

test('numbers are what a person would write', () => {
  for (const raw of ['0', '-1', '1e3', '0x10', 'Infinity', 'NaN', '1,5', '1s', '.']) {
    expect(faultsOf({ ...good, OUTBOX_WORKER_POLL_SECONDS: raw })).toContain(`positive number, got "${raw}"`);
  }
  expect(
    parseEnvironment(schema, { ...good, OUTBOX_WORKER_POLL_SECONDS: '0.25' }).OUTBOX_WORKER_POLL_SECONDS,
  ).toBe(0.25);
  for (const raw of ['1.5', '1e2', 'five', '9007199254740993']) {
    expect(faultsOf({ ...good, OUTBOX_MAX_ATTEMPTS: raw })).toContain(`from 1 to 100, got "${raw}"`);
  }
});

test('a time that no timer can wait is refused: it would be over at once', () => {
  for (const raw of ['2147484', '9'.repeat(60)]) {
    expect(faultsOf({ ...good, OUTBOX_WORKER_POLL_SECONDS: raw })).toBe(
      `expected OUTBOX_WORKER_POLL_SECONDS to be a positive number of seconds up to 2147483, got "${raw}"`,
    );
  }
  const { OUTBOX_WORKER_POLL_SECONDS } = parseEnvironment(schema, {
    ...good,
    OUTBOX_WORKER_POLL_SECONDS: '2147483',
  });
  expect(OUTBOX_WORKER_POLL_SECONDS).toBe(2_147_483);
});

test('a value that would move a terminal is shown without that', () => {
  expect(faultsOf({ ...good, MODE: 'x\u001B[2Jy\u202E' })).toBe(
    'expected MODE to be one of fast, safe, got "x [2Jy "',
  );
});

function check({ NAME, MODE }: { NAME: string; MODE: string }): string[] {
  return NAME === MODE ? ['NAME must differ from MODE'] : [];
}

test('rules between variables are asked when each by itself is good', () => {
  expect(() => parseEnvironment(schema, { ...good, NAME: 'safe' }, { check })).toThrow(
    'NAME must differ from MODE',
  );
  expect(parseEnvironment(schema, good, { check }).NAME).toBe('a');
});

test('what documentation needs is in the schema, without the defaults of secrets', () => {
  expect(env.secret({ description: 'x', default: 'hunter2' })).toMatchObject({
    secret: true,
    defaultText: undefined,
  });
  expect(schema.WORKER_HEALTH_PORT).toMatchObject({
    defaultText: '9090',
    required: false,
    description: 'Port.',
  });
  expect(schema.NAME.required).toBe(true);
  expect(schema.MEILI_URL.required).toBe(false);
});

test.each([
  ['0', 0],
  ['0.1', 0.1],
  ['.5', 0.5],
  ['1', 1],
  ['1.0', 1],
])('%j is a share', (raw, value) => {
  const parsed = parseEnvironment({ SHARE: env.fraction({ description: 'Share.' }) }, { SHARE: raw });
  expect(parsed).toEqual({ SHARE: value });
});

test.each(['1.1', '-0.1', '10%', '1e-1', '0x1', '.', 'NaN'])('%j is none', (raw) => {
  expect(() => parseEnvironment({ SHARE: env.fraction({ description: 'Share.' }) }, { SHARE: raw })).toThrow(
    `expected SHARE to be a number from 0 to 1, got "${raw}"`,
  );
});
