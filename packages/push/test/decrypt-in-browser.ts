// The browser's side of RFC 8291, written with the browser's own WebCrypto: keys that never leave the page, and the
// reading of an aes128gcm body with them.

import type { Target } from './chromium.ts';

/** Makes a pair of keys and a secret in the page, and tells what a subscription would. */
export async function keysInBrowser(page: Target): Promise<{ p256dh: string; auth: string }> {
  const made = (await page.evaluate(`(async () => {
    const curve = { name: 'ECDH', namedCurve: 'P-256' };
    self.pair = await crypto.subtle.generateKey(curve, false, ['deriveBits']);
    self.auth = crypto.getRandomValues(new Uint8Array(16));
    self.point = new Uint8Array(await crypto.subtle.exportKey('raw', self.pair.publicKey));
    return { point: [...self.point], auth: [...self.auth] };
  })()`)) as { point: number[]; auth: number[] };
  return {
    p256dh: Buffer.from(made.point).toString('base64url'),
    auth: Buffer.from(made.auth).toString('base64url'),
  };
}

/** Rejects when the body is not for these keys, or not as it was sent. */
export async function decryptInBrowser(page: Target, body: Buffer): Promise<string> {
  return String(
    await page.evaluate(`(async () => {
      const body = Uint8Array.from(${JSON.stringify([...body])});
      const { subtle } = crypto;
      const text = (label) => new TextEncoder().encode(label + '\\0');
      const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
      const hkdf = async (secret, salt, info, bytes) => {
        const key = await subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
        return new Uint8Array(await subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, bytes * 8));
      };
      const salt = body.slice(0, 16);
      const idLength = body[20];
      const theirs = body.slice(21, 21 + idLength);
      const record = body.slice(21 + idLength);
      const recordSize = new DataView(body.buffer).getUint32(16);
      if (record.length > recordSize) throw new Error('more than one record');
      const curve = { name: 'ECDH', namedCurve: 'P-256' };
      const their = await subtle.importKey('raw', theirs, curve, true, []);
      const shared = new Uint8Array(await subtle.deriveBits({ name: 'ECDH', public: their }, self.pair.privateKey, 256));
      const input = await hkdf(shared, self.auth, joined(text('WebPush: info'), self.point, theirs), 32);
      const key = await hkdf(input, salt, text('Content-Encoding: aes128gcm'), 16);
      const nonce = await hkdf(input, salt, text('Content-Encoding: nonce'), 12);
      const aes = await subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt']);
      const plain = new Uint8Array(await subtle.decrypt({ name: 'AES-GCM', iv: nonce }, aes, record));
      const end = plain.findLastIndex((byte) => byte !== 0);
      if (plain[end] !== 2) throw new Error('no last record');
      return new TextDecoder('utf-8', { fatal: true }).decode(plain.slice(0, end));
    })()`),
  );
}
