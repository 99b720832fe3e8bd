// VAPID (RFC 8292): the keys by which push services know who sends, and the address at which they reach that person.

import { createECDH } from 'node:crypto';
import { PushError } from './push-error.ts';

export interface VapidKeys {
  /** An uncompressed point of P-256, 65 bytes in base64url: what the page subscribes with. */
  readonly publicKey: string;
  /** 32 bytes in base64url. */
  readonly privateKey: string;
}

export interface Vapid extends VapidKeys {
  /** `mailto:` or `https:`, of somebody who can do something when a service complains. */
  readonly subject: string;
}

const CURVE = 'prime256v1';
const BASE64URL = /^[A-Za-z0-9_-]+$/;

export function generateVapidKeys(): VapidKeys {
  const pair = createECDH(CURVE);
  pair.generateKeys();
  // Node leaves leading zeros of the private key out.
  const privateKey = Buffer.concat([Buffer.alloc(32), pair.getPrivateKey()]).subarray(-32);
  return { publicKey: pair.getPublicKey('base64url'), privateKey: privateKey.toString('base64url') };
}

/** Checks keys and subject, so that no service has to. @throws PUSH_VAPID_INVALID, which never shows a key */
export function parseVapid({ publicKey, privateKey, subject }: Vapid): Vapid {
  const wanted = decoded(publicKey, 65, 'the public VAPID key');
  const secret = decoded(privateKey, 32, 'the private VAPID key');
  const pair = createECDH(CURVE);
  try {
    pair.setPrivateKey(secret);
  } catch (error) {
    throw invalid('the private VAPID key to be one of P-256', 'another number', NEW_KEYS, error);
  }
  if (!pair.getPublicKey().equals(wanted)) {
    throw invalid(
      'the public VAPID key to belong to the private one',
      'that of another pair',
      'set both from one run of `pulsebox vapid`',
    );
  }
  return {
    publicKey: wanted.toString('base64url'),
    privateKey: secret.toString('base64url'),
    subject: parseSubject(subject),
  };
}

const NEW_KEYS =
  '`pulsebox vapid` makes a pair; pages that subscribed with another public key have to subscribe again';

function decoded(text: string, bytes: number, name: string): Buffer {
  const trimmed = text.trim().replace(/=+$/, '');
  const buffer = BASE64URL.test(trimmed) ? Buffer.from(trimmed, 'base64url') : Buffer.alloc(0);
  if (buffer.length === bytes) return buffer;
  throw invalid(
    `${name} to be ${bytes} bytes in base64url`,
    `${text.length} characters that are not`,
    NEW_KEYS,
  );
}

/**
 * Apple answers 403 BadJwtToken to a subject it cannot believe in: localhost, blanks, angle brackets.
 *
 * @throws PUSH_VAPID_INVALID
 */
export function parseSubject(subject: string): string {
  const plausible = /^mailto:[^\s<>@]+@[^\s<>@]+\.[^\s<>@.]+$/i.test(subject) || isPublicPage(subject);
  if (plausible) return subject;
  throw invalid(
    'the VAPID subject to be mailto:somebody@a-domain or the https:// address of a page',
    JSON.stringify(subject.slice(0, 100)),
    'services refuse localhost, blanks and angle brackets; set VAPID_SUBJECT to an address where you read mail',
  );
}

function isPublicPage(subject: string): boolean {
  if (/[\s<>]/.test(subject) || !URL.canParse(subject)) return false;
  const { protocol, hostname } = new URL(subject);
  return protocol === 'https:' && hostname.includes('.') && !/(?:^|\.)localhost$|^[\d.]+$/.test(hostname);
}

function invalid(expected: string, got: string, hint: string, cause?: unknown): PushError {
  return new PushError('PUSH_VAPID_INVALID', `expected ${expected}, got ${got}`, {
    hint,
    ...(cause === undefined ? {} : { cause }),
  });
}
