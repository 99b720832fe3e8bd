// Tokens at rest: AES-256-GCM, bound to the row and column that they stand in.
//
// `v1.KEY.IV.DATA`: the version, the key's id, and in base64url the 12 bytes of the nonce, then the ciphertext with its
// 16 bytes of tag. Table, column and row are authenticated with it: a token that somebody copies into another row, to
// have it used for another user, opens nowhere. A nonce is random: under one key it may be used 2^32 times, which at
// one access token an hour is a million mailboxes for half a year; rotate keys before that.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { GmailError } from './gmail-error.ts';
import type { Keyring } from './keyring.ts';

export type TokenColumn = 'refresh_token' | 'access_token';

/** Where a token stands: a column of a row of `app.mail_connections`. */
export interface TokenPlace {
  readonly column: TokenColumn;
  readonly connectionId: string;
}

export interface TokenVault {
  /** The id of the key that new ciphertexts are written under. */
  readonly activeKeyId: string;
  seal(token: string, place: TokenPlace): string;
  /** @throws GMAIL_KEY_UNKNOWN, GMAIL_SECRET_INVALID */
  open(sealed: string, place: TokenPlace): string;
}

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = /^v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22,})$/;

export function createTokenVault({ active, keys }: Keyring): TokenVault {
  return {
    activeKeyId: active.id,
    seal(token, place): string {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, active.bytes, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(boundTo(place));
      const data = Buffer.concat([cipher.update(token, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return `v1.${active.id}.${nonce.toString('base64url')}.${data.toString('base64url')}`;
    },
    open(sealed, place): string {
      const [, keyId = '', nonce = '', text = ''] = SEALED.exec(sealed) ?? [];
      if (keyId === '') throw unreadable(place, 'it is not of the form v1.KEY.NONCE.DATA');
      const key = keys.get(keyId);
      if (key === undefined) throw unknownKey(place, keyId);
      const data = Buffer.from(text, 'base64url');
      const cipher = createDecipheriv(ALGORITHM, key.bytes, Buffer.from(nonce, 'base64url'), {
        authTagLength: TAG_BYTES,
      });
      cipher.setAAD(boundTo(place));
      cipher.setAuthTag(data.subarray(-TAG_BYTES));
      try {
        return Buffer.concat([cipher.update(data.subarray(0, -TAG_BYTES)), cipher.final()]).toString('utf8');
      } catch {
        // The cause would say "unable to authenticate data", and nothing else.
        throw unreadable(place, 'it was changed, or belongs to another row or column');
      }
    },
  };
}

function boundTo({ column, connectionId }: TokenPlace): Buffer {
  return Buffer.from(`app.mail_connections/${column}/${connectionId}`);
}

function unknownKey({ column, connectionId }: TokenPlace, keyId: string): GmailError {
  return new GmailError(
    'GMAIL_KEY_UNKNOWN',
    `the ${column} of mailbox ${connectionId} is encrypted under the key ${keyId}, which is not in ENCRYPTION_KEY`,
    { hint: 'add the key that it was encrypted under to ENCRYPTION_KEY, after the active one' },
  );
}

function unreadable({ column, connectionId }: TokenPlace, why: string): GmailError {
  return new GmailError(
    'GMAIL_SECRET_INVALID',
    `the ${column} of mailbox ${connectionId} cannot be decrypted: ${why}`,
    { hint: 'connect the mailbox again, and find out who writes to app.mail_connections' },
  );
}
