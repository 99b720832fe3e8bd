// Who we say we are: keys, subject, and tokens that are signed seldom.

import { generateVapidKeys, parseVapid } from '@pulsebox/push';
import { expect, test } from 'vitest';
import { checkVapid } from '../../../test/support/src/vapid-token.ts';
import { vapidHeaders } from '../src/vapid-headers.ts';

const subject = 'mailto:push@pulsebox.example';
const HOUR = 3_600_000;

test('keys that are made can be used, and are 65 and 32 bytes long', () => {
  for (let n = 0; n < 50; n += 1) {
    const keys = generateVapidKeys();
    expect(Buffer.from(keys.publicKey, 'base64url')).toHaveLength(65);
    expect(Buffer.from(keys.privateKey, 'base64url')).toHaveLength(32);
    expect(parseVapid({ ...keys, subject })).toEqual({ ...keys, subject });
  }
});

test('padding and blanks around keys do no harm', () => {
  const keys = generateVapidKeys();
  const { publicKey, privateKey } = keys;
  expect(parseVapid({ publicKey: ` ${publicKey}=\n`, privateKey: `${privateKey}=`, subject })).toMatchObject(
    keys,
  );
});

test('faulty keys are named without being shown', () => {
  const one = generateVapidKeys();
  const other = generateVapidKeys();
  for (const [vapid, said] of [
    [{ ...one, publicKey: other.publicKey }, 'the public VAPID key to belong to the private one'],
    [{ ...one, publicKey: one.privateKey }, 'the public VAPID key to be 65 bytes'],
    [{ ...one, privateKey: one.publicKey }, 'the private VAPID key to be 32 bytes'],
    [{ ...one, privateKey: `${one.privateKey}!` }, 'the private VAPID key to be 32 bytes'],
    [{ ...one, privateKey: 'A'.repeat(43) }, 'the private VAPID key to be one of P-256'],
  ] as const) {
    let fault: unknown;
    try {
      parseVapid({ ...vapid, subject });
    } catch (error) {
      fault = error;
    }
    expect(fault).toMatchObject({ code: 'PUSH_VAPID_INVALID' });
    expect(String(fault)).toContain(said);
    expect(String(fault)).not.toContain(one.privateKey);
  }
});

test.each([
  ['mailto:push@pulsebox.example', true],
  ['https://pulsebox.example/contact', true],
  ['https://localhost', false],
  ['https://push.localhost', false],
  ['https://127.0.0.1/', false],
  ['http://pulsebox.example', false],
  ['mailto:<push@pulsebox.example>', false],
  ['mailto: push@pulsebox.example', false],
  ['mailto:push@localhost', false],
  ['push@pulsebox.example', false],
  ['', false],
])('subject %j is believable: %s', (text, isBelievable) => {
  const made = (): unknown => parseVapid({ ...generateVapidKeys(), subject: text });
  if (isBelievable) expect(made).not.toThrow();
  else expect(made).toThrow('expected the VAPID subject to be');
});

test('a token is made once for an origin, renewed in the middle of its life, and never lives longer than a day', () => {
  let now = Date.now();
  const keys = generateVapidKeys();
  const headers = vapidHeaders({ ...keys, subject }, { now: () => now });
  const first = headers.authorization('https://one.example');
  expect(checkVapid(first, 'https://one.example')).toMatchObject({ sub: subject, publicKey: keys.publicKey });
  expect(checkVapid(first, 'https://one.example').exp * 1_000 - now).toBeLessThanOrEqual(12 * HOUR);
  expect(() => checkVapid(first, 'https://other.example')).toThrow('a token for');
  expect(headers.authorization('https://other.example')).not.toBe(first);

  now += 6 * HOUR - 1;
  expect(headers.authorization('https://one.example')).toBe(first);
  now += 1;
  const second = headers.authorization('https://one.example');
  expect(second).not.toBe(first);
  now -= 7 * HOUR;
  expect(headers.authorization('https://one.example')).not.toBe(second);
});

test('origins that strangers make up do not push the token of a service out that is in use', () => {
  const headers = vapidHeaders({ ...generateVapidKeys(), subject });
  const first = headers.authorization('https://web.push.apple.com');
  for (let n = 0; n < 1_500; n += 1) {
    headers.authorization(`https://${n}.example`);
    if (n % 100 === 0) headers.authorization('https://web.push.apple.com');
  }
  expect(headers.authorization('https://web.push.apple.com')).toBe(first);
});

test('origins that strangers make up do not pile up', () => {
  let signed = 0;
  const headers = vapidHeaders(
    { ...generateVapidKeys(), subject },
    {
      now: () => {
        signed += 1;
        return 1_700_000_000_000 + signed;
      },
    },
  );
  const first = headers.authorization('https://0.example');
  for (let n = 1; n <= 1_000; n += 1) headers.authorization(`https://${n}.example`);
  // It was pushed out, and is signed anew; the last one was not.
  expect(headers.authorization('https://0.example')).not.toBe(first);
  expect(headers.authorization('https://1000.example')).toBe(headers.authorization('https://1000.example'));
});
