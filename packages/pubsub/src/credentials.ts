// How Pub/Sub is reached: which project, which credentials, or an emulator.

import { readFileSync } from 'node:fs';
import { PubSubError } from './pubsub-error.ts';

export interface PubSubConnection {
  readonly projectId: string;
  /** A service account's key, or what else Google calls credentials. Without: the application default credentials. */
  readonly credentialsFile?: string | undefined;
  /** `host:port` of an emulator: no TLS, no credentials. */
  readonly emulatorHost?: string | undefined;
}

/** Says at the start what would else be said by Google at the first call. @throws PUBSUB_CREDENTIALS_INVALID */
export function checkCredentials({ credentialsFile, emulatorHost }: PubSubConnection): void {
  if (credentialsFile !== undefined && emulatorHost === undefined) readCredentials(credentialsFile);
}

/** The client looks at the rest. */
export interface Credentials {
  readonly type: string;
}

/** @throws PUBSUB_CREDENTIALS_INVALID */
export function readCredentials(file: string): Credentials {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    // A parser quotes what it stumbles over, and this may be half a private key.
    const code = (error as { readonly code?: unknown }).code;
    throw credentialsError(
      file,
      typeof code === 'string' ? `it cannot be read (${code})` : 'it is not JSON',
      typeof code === 'string' ? error : undefined,
    );
  }
  const { type, client_email, private_key } = (found ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof type !== 'string') throw credentialsError(file, 'it has no "type"');
  if (type === 'service_account' && (typeof client_email !== 'string' || typeof private_key !== 'string')) {
    throw credentialsError(file, 'it lacks "client_email" or "private_key"');
  }
  return found as Credentials;
}

function credentialsError(file: string, what: string, cause?: unknown): PubSubError {
  return new PubSubError(
    'PUBSUB_CREDENTIALS_INVALID',
    `expected ${file} to hold Google credentials, but ${what}`,
    {
      hint: 'mount the JSON key of a service account there, or name no file to use the application default credentials',
      cause,
    },
  );
}
