// The browser's side of Web Push (RFC 8291): the keys that it subscribes with, and how it reads what was sent to them.

import { createDecipheriv, createECDH, hkdfSync, randomBytes } from 'node:crypto';

export interface BrowserKeys {
  /** Base64url, as a page hands them on. */
  readonly p256dh: string;
  readonly auth: string;
  /** Throws when the body is not one aes128gcm record for these keys. */
  decrypt(body: Buffer): string;
}

const HEADER_BYTES = 21;
const TAG_BYTES = 16;

/** @param given the private key and the secret, base64url; without them new ones are made */
export function browserKeys(given?: { readonly privateKey: string; readonly auth: string }): BrowserKeys {
  const pair = createECDH('prime256v1');
  if (given === undefined) pair.generateKeys();
  else pair.setPrivateKey(Buffer.from(given.privateKey, 'base64url'));
  const ours = pair.getPublicKey();
  const secret = given === undefined ? randomBytes(16) : Buffer.from(given.auth, 'base64url');

  return {
    p256dh: ours.toString('base64url'),
    auth: secret.toString('base64url'),
    decrypt(body): string {
      const salt = body.subarray(0, 16);
      const recordSize = body.readUInt32BE(16);
      const theirs = body.subarray(HEADER_BYTES, HEADER_BYTES + body.readUInt8(20));
      const record = body.subarray(HEADER_BYTES + theirs.length);
      if (record.length > recordSize) throw new Error('more than one record');
      const shared = pair.computeSecret(theirs);
      const info = Buffer.concat([Buffer.from('WebPush: info\0'), ours, theirs]);
      const material = derive(shared, secret, info, 32);
      const key = derive(material, salt, 'Content-Encoding: aes128gcm\0', 16);
      const nonce = derive(material, salt, 'Content-Encoding: nonce\0', 12);
      const decipher = createDecipheriv('aes-128-gcm', key, nonce);
      decipher.setAuthTag(record.subarray(-TAG_BYTES));
      const padded = Buffer.concat([decipher.update(record.subarray(0, -TAG_BYTES)), decipher.final()]);
      const end = padded.findLastIndex((byte) => byte !== 0);
      if (padded[end] !== 2) throw new Error('no delimiter of a last record');
      return padded.subarray(0, end).toString('utf8');
    },
  };
}

function derive(key: Uint8Array, salt: Uint8Array, info: Uint8Array | string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, info, bytes));
}
