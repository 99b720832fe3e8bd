// The keys that tokens are encrypted under: the first writes, all of them read, so that keys can be replaced in peace.

import { createHash } from 'node:crypto';
import { GmailError } from './gmail-error.ts';

export interface EncryptionKey {
  /** Eight hexadecimal digits that name it without telling of it. Part of whatever it encrypted. */
  readonly id: string;
  /** 32 bytes. */
  readonly bytes: Buffer;
}

export interface Keyring {
  /** What is written is written under this one. */
  readonly active: EncryptionKey;
  /** By id, the active one included. */
  readonly keys: ReadonlyMap<string, EncryptionKey>;
}

const KEY_BYTES = 32;
const HEX = /^[0-9a-fA-F]+$/;
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/;

/**
 * Keys separated by commas, the active one first: each 32 bytes, as 64 hexadecimal digits or in base64 (either
 * alphabet). Anything shorter, or any word, is no key: there is no derivation from passwords.
 *
 * @throws GMAIL_KEYRING_INVALID with every fault, none of which shows a key
 */
export function parseKeyring(text: string): Keyring {
  const faults: string[] = [];
  const keys = new Map<string, EncryptionKey>();
  const parsed = text.split(',').flatMap((entry, n) => {
    const bytes = keyBytes(entry.trim());
    if (typeof bytes === 'string') {
      faults.push(
        `expected key ${n + 1} to be 32 bytes, as 64 hexadecimal digits or in base64; got ${bytes}`,
      );
      return [];
    }
    const key = { id: keyId(bytes), bytes };
    if (keys.has(key.id)) faults.push(`key ${n + 1} stands in the list twice`);
    keys.set(key.id, key);
    return [key];
  });
  const [active] = parsed;
  if (faults.length === 0 && active !== undefined) return { active, keys };
  throw new GmailError('GMAIL_KEYRING_INVALID', `ENCRYPTION_KEY: ${faults.join('; ')}`, {
    hint: 'make a key with `openssl rand -base64 32`; to replace one put the new key first, a comma, then the old one, and run `pulsebox mail rotate-keys`',
  });
}

/** The bytes, or what is wrong with them. */
function keyBytes(entry: string): Buffer | string {
  if (entry === '') return 'nothing';
  if (HEX.test(entry) && entry.length === 2 * KEY_BYTES) return Buffer.from(entry, 'hex');
  if (!BASE64.test(entry)) return `${entry.length} characters that are neither`;
  const bytes = Buffer.from(entry, 'base64url');
  return bytes.length === KEY_BYTES ? bytes : `${bytes.length} bytes in base64`;
}

/** From a hash with a prefix of its own, so that it says nothing that could be of use elsewhere. */
function keyId(bytes: Buffer): string {
  return createHash('sha256').update('pulsebox key id\0').update(bytes).digest('hex').slice(0, 8);
}
