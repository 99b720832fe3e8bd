// The cryptography, against the example of RFC 8291 and a browser's own side of it.

import { createECDH, ECDH } from 'node:crypto';
import { createRequire } from 'node:module';
import { LONGEST_PLAINTEXT } from '@pulsebox/push';
import { browserKeys } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { encryptMessage } from '../src/encryption.ts';

/** RFC 8291, appendix A. */
const example = {
  plaintext: 'When I grow up, I want to be a watermelon',
  serverPrivateKey: 'yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw',
  browserPrivateKey: 'q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94',
  browserPublicKey: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
  auth: 'BTBZMqHH6r4Tts7J_aSIgg',
  salt: 'DGv6ra1nlYgDCS1FRnbzlw',
  body: 'DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN',
} as const;

interface Ece {
  decrypt(body: Buffer, options: Readonly<Record<string, unknown>>): Buffer;
}

const keys = { p256dh: example.browserPublicKey, auth: example.auth };

function pairOf(privateKey: string): ECDH {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(Buffer.from(privateKey, 'base64url'));
  return pair;
}

test('the example of RFC 8291 is written to the byte', () => {
  const oneTime = { pair: pairOf(example.serverPrivateKey), salt: Buffer.from(example.salt, 'base64url') };
  const body = encryptMessage(keys, example.plaintext, oneTime);
  expect(body?.toString('base64url')).toBe(example.body);
});

test('the code that web-push is built on reads what is written here, short or as long as it may be', () => {
  const ece = createRequire(createRequire(import.meta.url).resolve('web-push'))('http_ece') as Ece;
  const privateKey = pairOf(example.browserPrivateKey);
  for (const plaintext of ['{}', 'Grüße', 'x'.repeat(LONGEST_PLAINTEXT)]) {
    const body = encryptMessage(keys, plaintext) ?? Buffer.alloc(0);
    const read = ece.decrypt(body, { version: 'aes128gcm', privateKey, authSecret: example.auth });
    expect(read.toString('utf8')).toBe(plaintext);
  }
});

test('the browser of the stand-in reads the example of RFC 8291', () => {
  const browser = browserKeys({ privateKey: example.browserPrivateKey, auth: example.auth });
  expect(browser.p256dh).toBe(example.browserPublicKey);
  expect(browser.decrypt(Buffer.from(example.body, 'base64url'))).toBe(example.plaintext);
});

test('a browser reads what is encrypted for it, another does not, and no two bodies share key or salt', () => {
  const browser = browserKeys();
  const encrypted = (): Buffer => encryptMessage(browser, 'Grüße') ?? Buffer.alloc(0);
  const [one, other] = [encrypted(), encrypted()];
  expect(browser.decrypt(one)).toBe('Grüße');
  expect(() => browserKeys().decrypt(one)).toThrow('authenticate');
  expect(one.subarray(0, 16)).not.toEqual(other.subarray(0, 16));
  expect(one.subarray(21, 86)).not.toEqual(other.subarray(21, 86));
});

test.each([
  ['nothing', ''],
  ['a point written down in short', compressed(example.browserPublicKey)],
  ['65 bytes that are no point', Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)]).toString('base64url')],
  ['the point at infinity', Buffer.concat([Buffer.of(4), Buffer.alloc(64)]).toString('base64url')],
])('there is no message for keys that are none: %s', (_name, p256dh) => {
  expect(encryptMessage({ p256dh, auth: example.auth }, 'Hello')).toBeUndefined();
});

test('there is no message for a secret that is too short', () => {
  const auth = Buffer.alloc(15).toString('base64url');
  expect(encryptMessage({ p256dh: example.browserPublicKey, auth }, 'Hello')).toBeUndefined();
});

function compressed(point: string): string {
  return ECDH.convertKey(point, 'prime256v1', 'base64url', 'base64url', 'compressed') as string;
}
