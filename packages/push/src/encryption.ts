// A message as only one browser can read it: RFC 8291, one aes128gcm record of RFC 8188. Synchronous, and the dearest
// part of a delivery: a key pair and a key agreement for each message, so that whoever breaks one has broken one.

import { createCipheriv, createECDH, createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import type { ECDH, KeyObject } from 'node:crypto';

export interface EncryptionKeys {
  /** The browser's public key, 65 bytes in base64url. */
  readonly p256dh: string;
  /** 16 bytes in base64url. */
  readonly auth: string;
}

/** What no two messages may share. */
export interface OneTime {
  /** A new pair, with keys in it. */
  readonly pair: ECDH;
  /** 16 bytes. */
  readonly salt: Uint8Array;
}

const CURVE = 'prime256v1';

const POINT_BYTES = 65;
/** How an uncompressed point begins. */
const UNCOMPRESSED = 4;
const AUTH_BYTES = 16;
const SALT_BYTES = 16;
const TAG_BYTES = 16;

/** Salt, size of a record, length of the key, key. */
const HEADER_BYTES = SALT_BYTES + 4 + 1 + POINT_BYTES;
/** The most that services have to take, so that a message is one record. */
const RECORD_BYTES = 4_096;
/** After the plaintext of the last record. */
const DELIMITER = 2;

const WEB_PUSH = Buffer.from('WebPush: info\0');
const CONTENT_KEY = Buffer.from('Content-Encoding: aes128gcm\0');
const NONCE = Buffer.from('Content-Encoding: nonce\0');

/**
 * The body of the request: header and record. Undefined: no key agreement is possible with such keys.
 *
 * @param oneTime for the examples of the RFC; otherwise made here
 */
export function encryptMessage(
  { p256dh, auth }: EncryptionKeys,
  plaintext: string,
  { pair, salt }: OneTime = makeOneTime(),
): Buffer<ArrayBuffer> | undefined {
  const theirs = Buffer.from(p256dh, 'base64url');
  const secret = Buffer.from(auth, 'base64url');
  // Other ways to write a point down (OpenSSL reads them) make a body that the browser cannot read.
  if (theirs.length !== POINT_BYTES || theirs[0] !== UNCOMPRESSED || secret.length < AUTH_BYTES)
    return undefined;
  const shared = agree(pair, theirs);
  if (shared === undefined) return undefined;
  const ours = pair.getPublicKey();
  const material = derive(shared, secret, Buffer.concat([WEB_PUSH, theirs, ours]), 32);
  const key = derive(material, salt, CONTENT_KEY, 16);
  const nonce = derive(material, salt, NONCE, 12).export();

  const size = Buffer.byteLength(plaintext) + 1;
  const body = Buffer.alloc(HEADER_BYTES + size + TAG_BYTES);
  body.set(salt);
  body.writeUInt32BE(RECORD_BYTES, SALT_BYTES);
  body.writeUInt8(POINT_BYTES, SALT_BYTES + 4);
  body.set(ours, SALT_BYTES + 5);
  const record = body.subarray(HEADER_BYTES, HEADER_BYTES + size);
  record.write(plaintext);
  record.writeUInt8(DELIMITER, size - 1);
  const cipher = createCipheriv('aes-128-gcm', key, nonce);
  record.set(cipher.update(record));
  cipher.final();
  body.set(cipher.getAuthTag(), HEADER_BYTES + size);
  return body;
}

function makeOneTime(): OneTime {
  const pair = createECDH(CURVE);
  pair.generateKeys();
  return { pair, salt: randomBytes(SALT_BYTES) };
}

/** Undefined: 65 bytes that are no point of the curve. */
function agree(pair: ECDH, theirs: Buffer): KeyObject | undefined {
  try {
    return createSecretKey(pair.computeSecret(theirs));
  } catch {
    return undefined;
  }
}

/** Key objects from end to end: with bytes as keys a derivation takes half as long again. */
function derive(key: KeyObject, salt: Uint8Array, info: Uint8Array, bytes: number): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, info, bytes)));
}
