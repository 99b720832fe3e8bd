// pulsebox mail, as an operator runs it, against the Gmail stand-in.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createTestDatabase, eventually, startGmailStandIn } from '@pulsebox/test-support';
import type { GmailStandIn, TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { BARE, MAIN, pulsebox } from './pulsebox.ts';
import type { Ran } from './pulsebox.ts';

const OLD_KEY = randomBytes(32).toString('base64');
const NEW_KEY = randomBytes(32).toString('hex');

let db: TestDatabase;
let gmail: GmailStandIn;
let env: Record<string, string>;

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
  gmail = await startGmailStandIn();
});
afterAll(async () => {
  await gmail.close();
  await db.drop();
});
beforeEach(async () => {
  await db.pool.query('truncate app.mail_connections cascade');
  await db.pool.query('truncate outbox.event');
  env = {
    DATABASE_URL: db.url,
    GMAIL_CLIENT_ID: gmail.clientId,
    GMAIL_CLIENT_SECRET: gmail.clientSecret,
    GMAIL_API_BASE: gmail.url,
    ENCRYPTION_KEY: OLD_KEY,
  };
});

const WHO = ['--user', 'ada', '--org', 'acme'];

/** Runs `mail connect`; `answer` gets the page that it shows, and returns what to type. */
async function connect(
  answer: (page: URL) => Promise<string | undefined>,
  args: readonly string[] = [],
): Promise<Pick<Ran, 'code' | 'stdout' | 'stderr'>> {
  const child = spawn(process.execPath, ['--conditions=source', MAIN, 'mail', 'connect', ...WHO, ...args], {
    env: { ...BARE, ...env },
    stdio: 'pipe',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const shown = await eventually(() => /^http\S+$/m.exec(stderr)?.[0]);
  const typed = await answer(new URL(shown));
  // Standard input stays open, as that of a terminal does.
  if (typed !== undefined) child.stdin.write(`${typed}\n`);
  return { code: await closed, stdout, stderr };
}

test('connects a mailbox by the browser that comes back', async () => {
  gmail.consentAs('Grace@Example.com');
  const ran = await connect(async (page) => {
    expect(Object.fromEntries(page.searchParams)).toMatchObject({
      scope: 'https://www.googleapis.com/auth/gmail.readonly',
      access_type: 'offline',
      code_challenge_method: 'S256',
    });
    expect(await (await fetch(page)).text()).toContain('Access was granted');
    return undefined;
  });
  expect(ran).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('connected: Grace@Example.com for ada'),
  });

  const { rows } = await db.pool.query<Record<string, string>>('select * from app.mail_connections');
  expect(rows).toMatchObject([
    { email: 'Grace@Example.com', user_id: 'ada', org_id: 'acme', state: 'active' },
  ]);
  const stored = JSON.stringify(rows);
  expect(stored).not.toContain(gmail.mailbox('grace@example.com').refreshToken);
  expect(stored).not.toContain('ya29.');
  const { rows: events } = await db.pool.query('select topic, payload from outbox.event');
  expect(events).toEqual([{ topic: 'mail.changed', payload: { connection_id: rows[0]?.['connection_id'] } }]);
  expect(ran.stdout + ran.stderr).not.toMatch(/ya29\.|1\/\/refresh|4\/code/);
});

test('connects a mailbox by the address that is pasted, and gives it a new grant the next time', async () => {
  gmail.consentAs('ada@example.com');
  const paste = async (page: URL): Promise<string> =>
    (await fetch(page, { redirect: 'manual' })).headers.get('location') ?? '';
  expect(await connect(paste)).toMatchObject({ code: 0 });
  await db.pool.query(
    `update app.mail_connections set state = 'revoked', state_reason = 'gone', history_id = 77`,
  );
  const again = await connect(paste, ['--json']);
  expect(JSON.parse(again.stdout)).toMatchObject({ known: true, email: 'ada@example.com', user: 'ada' });
  const { rows } = await db.pool.query('select state, state_reason, history_id from app.mail_connections');
  expect(rows).toEqual([{ state: 'active', state_reason: null, history_id: '77' }]);
});

test.for([
  ['refused', async (page: URL) => `${page.searchParams.get('redirect_uri')}/?error=access_denied&state=x`],
  ['of another attempt', async () => 'http://127.0.0.1:1/?code=4/abcdefghijkl&state=forged'],
  ['no answer at all', async () => 'yes please'],
] as const)('stores nothing when what comes back is %s', async ([, answer]) => {
  const ran = await connect(answer);
  expect(ran.code).toBe(2);
  expect(ran.stderr).toMatch(/access was not granted \(access_denied\)|another attempt|expected the address/);
  expect((await db.pool.query('select from app.mail_connections')).rowCount).toBe(0);
});

test('takes a refresh token from standard input, and refuses one that Google does not take', async () => {
  const { refreshToken } = gmail.mailbox('ada@example.com');
  const args = ['mail', 'connect', ...WHO, '--refresh-token-stdin', '--no-notify'];
  const ran = await pulsebox(args, { env, input: `${refreshToken}\n` });
  expect(ran.stderr).toBe('');
  expect(ran.code).toBe(0);
  const { rows } = await db.pool.query('select email, notify from app.mail_connections');
  expect(rows).toEqual([{ email: 'ada@example.com', notify: false }]);

  const refused = await pulsebox(args, { env, input: '1//none-of-ours' });
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('the grant has expired, was revoked, or the password was changed');
  expect(refused.stderr).not.toContain('none-of-ours');
  expect((await pulsebox(args, { env, input: '' })).stderr).toContain('expected one refresh token');
});

test('says what is missing or wrong in the configuration', async () => {
  const { GMAIL_CLIENT_ID: _, GMAIL_CLIENT_SECRET: __, ...without } = env;
  const off = await pulsebox(['mail', 'connect', ...WHO], { env: without });
  expect(off).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET'),
  });
  const wrong = await pulsebox(['mail', 'connect', ...WHO, '--refresh-token-stdin'], {
    env: { ...env, GMAIL_CLIENT_SECRET: 'wrong' },
    input: gmail.mailbox('ada@example.com').refreshToken,
  });
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain('check GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET');
});

test('shows how each mailbox is, and fails when one has a problem', async () => {
  expect(await pulsebox(['mail', 'status'], { env })).toMatchObject({
    code: 0,
    stdout: 'no mailboxes yet: pulsebox mail connect adds one\n',
  });
  for (const email of ['ada@example.com', 'bob@example.com']) {
    const input = gmail.mailbox(email).refreshToken;
    await pulsebox(['mail', 'connect', ...WHO, '--refresh-token-stdin'], { env, input });
  }
  await db.pool.query(
    `update app.mail_connections
     set full_sync_base = 5, full_sync_counted = 3100, full_sync_total = 99000, watch_expires_at = now() + interval '49 hours'
     where email = 'bob@example.com'`,
  );
  const well = await pulsebox(['mail', 'status'], { env });
  expect(well.code).toBe(0);
  expect(well.stdout).toMatch(/bob@example\.com +ada +acme +active +3,100 of 99,000 +- +2 d 1 h/);
  await db.pool.query(
    `update app.mail_connections set state = 'revoked', state_reason = 'the grant has expired' where email = 'ada@example.com'`,
  );
  const ran = await pulsebox(['mail', 'status', '--json'], { env });
  expect(ran.code).toBe(1);
  expect(ran.json<unknown[]>()).toMatchObject([
    { email: 'ada@example.com', state: 'revoked', reason: 'the grant has expired' },
    { email: 'bob@example.com', state: 'active', fullSync: { counted: 3_100, total: 99_000 } },
  ]);
  expect(ran.stdout).not.toContain('v1.');
});

test('re-encrypts tokens, so that the old key is needed no longer', async () => {
  const input = gmail.mailbox('ada@example.com').refreshToken;
  await pulsebox(['mail', 'connect', ...WHO, '--refresh-token-stdin'], { env, input });
  const both = { ...env, ENCRYPTION_KEY: `${NEW_KEY},${OLD_KEY}` };
  const ran = await pulsebox(['mail', 'rotate-keys'], { env: both });
  expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('1 mailbox re-encrypted under key') });
  const again = await pulsebox(['mail', 'rotate-keys', '--json'], {
    env: { ...env, ENCRYPTION_KEY: NEW_KEY },
  });
  expect(again.json()).toMatchObject({ rotated: 0, unreadable: [] });
  const lost = await pulsebox(['mail', 'rotate-keys'], { env });
  expect(lost).toMatchObject({ code: 1, stdout: expect.stringContaining('not in ENCRYPTION_KEY') });
  const shown = ran.stdout + again.stdout + lost.stdout;
  for (const key of [OLD_KEY, NEW_KEY]) expect(shown).not.toContain(key);
});
