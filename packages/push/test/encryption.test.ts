// The cryptography, against the example of RFC 8291 and a browser's own side of it.

import { createECDH } from 'node:crypto';
import { createRequire } from 'node:module';
import { browserKeys } from '@pulsebox/test-support';
import webPush from 'web-push';
import { expect, test } from 'vitest';

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
  encrypt(plaintext: Buffer, options: Readonly<Record<string, unknown>>): Buffer;
}

test('the code that encrypts writes the example of RFC 8291 to the byte', () => {
  // The very module that web-push calls, with the example's key and salt in the place of random ones.
  const ece = createRequire(createRequire(import.meta.url).resolve('web-push'))('http_ece') as Ece;
  const privateKey = createECDH('prime256v1');
  privateKey.setPrivateKey(Buffer.from(example.serverPrivateKey, 'base64url'));
  const body = ece.encrypt(Buffer.from(example.plaintext), {
    version: 'aes128gcm',
    dh: example.browserPublicKey,
    privateKey,
    salt: example.salt,
    authSecret: example.auth,
  });
  expect(body.toString('base64url')).toBe(example.body);
});

test('the browser of the stand-in reads the example of RFC 8291', () => {
  const browser = browserKeys({ privateKey: example.browserPrivateKey, auth: example.auth });
  expect(browser.p256dh).toBe(example.browserPublicKey);
  expect(browser.decrypt(Buffer.from(example.body, 'base64url'))).toBe(example.plaintext);
});

test('a browser reads what is encrypted for it, another does not, and no two bodies share key or salt', () => {
  const browser = browserKeys();
  const encrypted = (): Buffer =>
    webPush.encrypt(browser.p256dh, browser.auth, 'Grüße', 'aes128gcm').cipherText;
  const [one, other] = [encrypted(), encrypted()];
  expect(browser.decrypt(one)).toBe('Grüße');
  expect(() => browserKeys().decrypt(one)).toThrow('authenticate');
  expect(one.subarray(0, 16)).not.toEqual(other.subarray(0, 16));
  expect(one.subarray(21, 86)).not.toEqual(other.subarray(21, 86));
});
