import { randomBytes, randomUUID } from 'node:crypto';
import { createTokenVault, GmailError, parseKeyring, rotateKeys } from '@pulsebox/gmail';
import type { TokenVault } from '@pulsebox/gmail';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';

const OLD = randomBytes(32).toString('base64');
const NEW = randomBytes(32).toString('hex');

function vaultOf(...keys: readonly string[]): TokenVault {
  return createTokenVault(parseKeyring(keys.join(',')));
}

describe('a keyring', () => {
  test('takes 32 bytes in hexadecimal, base64 and base64url', () => {
    const bytes = randomBytes(32);
    const ids = ['hex', 'base64', 'base64url'].map(
      (encoding) => parseKeyring(bytes.toString(encoding as BufferEncoding)).active.id,
    );
    expect(new Set(ids).size).toBe(1);
  });

  test.for([
    ['secret', 'expected key 1 to be 32 bytes, as 64 hexadecimal digits or in base64; got 4 bytes in base64'],
    ['pass word!', 'got 10 characters that are neither'],
    [`${OLD},`, 'expected key 2 to be 32 bytes, as 64 hexadecimal digits or in base64; got nothing'],
    [`${OLD},${OLD}`, 'key 2 stands in the list twice'],
    [randomBytes(16).toString('hex'), 'got 24 bytes in base64'],
  ] as const)('refuses %s and shows no key', ([text, fault]) => {
    let error: unknown;
    try {
      parseKeyring(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'GMAIL_KEYRING_INVALID', hint: expect.stringContaining('openssl') });
    expect((error as Error).message).toContain(fault);
    expect((error as Error).message).not.toContain(OLD);
  });
});

describe('a sealed token', () => {
  const place = { column: 'refresh_token', connectionId: randomUUID() } as const;

  test('opens again, whatever it is, and never looks the same twice', () => {
    const vault = vaultOf(OLD);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (token) => {
        const sealed = vault.seal(token, place);
        expect(vault.open(sealed, place)).toBe(token);
        expect(vault.seal(token, place)).not.toBe(sealed);
      }),
    );
  });

  test('opens nowhere but in its own row and column', () => {
    const vault = vaultOf(OLD);
    const sealed = vault.seal('token', place);
    const elsewhere = [
      { ...place, connectionId: randomUUID() },
      { ...place, column: 'access_token' },
    ] as const;
    for (const other of elsewhere) {
      expect(() => vault.open(sealed, other)).toThrow(
        expect.objectContaining({ code: 'GMAIL_SECRET_INVALID' }),
      );
    }
  });

  test('does not open once a single bit of it is changed', () => {
    const vault = vaultOf(OLD);
    const sealed = vault.seal('token', place);
    const start = sealed.lastIndexOf('.') + 1;
    const data = Buffer.from(sealed.slice(start), 'base64url');
    for (let n = 0; n < data.length * 8; n += 1) {
      const changed = Buffer.from(data);
      changed[n >> 3]! ^= 1 << (n & 7);
      expect(() => vault.open(sealed.slice(0, start) + changed.toString('base64url'), place)).toThrow(
        GmailError,
      );
    }
    expect(() => vault.open('v1.none', place)).toThrow(
      expect.objectContaining({ code: 'GMAIL_SECRET_INVALID' }),
    );
  });

  test('is written under the first key and read under all of them', () => {
    const sealed = vaultOf(OLD).seal('token', place);
    expect(vaultOf(NEW, OLD).open(sealed, place)).toBe('token');
    expect(vaultOf(NEW).open(vaultOf(NEW, OLD).seal('token', place), place)).toBe('token');
    expect(() => vaultOf(NEW).open(sealed, place)).toThrow(
      expect.objectContaining({ code: 'GMAIL_KEY_UNKNOWN' }),
    );
  });
});

describe('rotating keys', () => {
  let db: TestDatabase;

  beforeAll(async () => {
    db = await createTestDatabase(inject('serverUrl'));
  });
  afterAll(async () => {
    await db.drop();
  });
  beforeEach(async () => {
    await db.pool.query('truncate app.mail_connections cascade');
  });

  async function mailboxes(vault: TokenVault, count: number): Promise<void> {
    for (let n = 0; n < count; n += 1) {
      const connectionId = randomUUID();
      await db.pool.query(
        `insert into app.mail_connections (connection_id, user_id, org_id, email, refresh_token, access_token)
         values ($1, $2, 'acme', 'a@example.com', $3, $4)`,
        [
          connectionId,
          connectionId,
          vault.seal(`refresh ${connectionId}`, { column: 'refresh_token', connectionId }),
          n % 2 === 0 ? null : vault.seal(`access ${connectionId}`, { column: 'access_token', connectionId }),
        ],
      );
    }
  }

  async function opened(vault: TokenVault): Promise<(readonly [string, string | null])[]> {
    const { rows } = await db.pool.query<Record<'connection_id' | 'refresh_token' | 'access_token', string>>(
      'select connection_id, refresh_token, access_token from app.mail_connections order by 1',
    );
    return rows.map(({ connection_id: connectionId, refresh_token, access_token }) => [
      vault.open(refresh_token, { column: 'refresh_token', connectionId }),
      // oxlint-disable-next-line typescript/no-unnecessary-condition -- the column may be null
      access_token === null ? null : vault.open(access_token, { column: 'access_token', connectionId }),
    ]);
  }

  test('leaves the old key unneeded, chunk by chunk, and goes on where it was interrupted', async () => {
    const both = vaultOf(NEW, OLD);
    await mailboxes(vaultOf(OLD), 25);
    const before = await opened(both);
    const interrupted = new AbortController();
    await expect(
      rotateKeys({
        pool: db.pool,
        vault: both,
        chunk: 10,
        signal: interrupted.signal,
        onProgress: () => interrupted.abort(new Error('interrupted')),
      }),
    ).rejects.toThrow('interrupted');

    expect(await rotateKeys({ pool: db.pool, vault: both, chunk: 10 })).toEqual({
      rotated: 15,
      unreadable: [],
    });
    expect(await rotateKeys({ pool: db.pool, vault: both })).toEqual({ rotated: 0, unreadable: [] });
    expect(await opened(vaultOf(NEW))).toEqual(before);
  });

  test('names mailboxes that no key opens, and rotates the others', async () => {
    await mailboxes(vaultOf(OLD), 3);
    await mailboxes(vaultOf(randomBytes(32).toString('hex')), 1);
    const report = await rotateKeys({ pool: db.pool, vault: vaultOf(NEW, OLD), chunk: 2 });
    expect(report.rotated).toBe(3);
    expect(report.unreadable).toMatchObject([{ reason: expect.stringContaining('not in ENCRYPTION_KEY') }]);
  });
});
