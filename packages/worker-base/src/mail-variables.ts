// Access to mailboxes, as environment variables: the OAuth client, and the keys that tokens are encrypted under.

import { createMail, GmailError, parseKeyring } from '@pulsebox/gmail';
import type { Mail, MailOptions } from '@pulsebox/gmail';
import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';

export const mailVariables: {
  readonly GMAIL_CLIENT_ID: Variable<string | undefined>;
  readonly GMAIL_CLIENT_SECRET: Variable<string | undefined>;
  readonly ENCRYPTION_KEY: Variable<string | undefined>;
  readonly GMAIL_API_BASE: Variable<string | undefined>;
  readonly GMAIL_TIMEOUT_SECONDS: Variable<number>;
} = {
  GMAIL_CLIENT_ID: env.optional(
    env.string({ description: 'The OAuth client that mailboxes are connected with. Unset: mail is off.' }),
  ),
  GMAIL_CLIENT_SECRET: env.optional(env.secret({ description: 'The secret of that client.' })),
  ENCRYPTION_KEY: env.optional(
    env.secret({
      description:
        'Keys that tokens are encrypted under, 32 bytes each in base64 or hexadecimal, separated by commas: the first writes, all read.',
    }),
  ),
  GMAIL_API_BASE: env.optional(
    env.url({
      description: "In place of Google's hosts, for API, tokens and consent: a stand-in or a proxy.",
      protocols: ['http:', 'https:'],
    }),
  ),
  GMAIL_TIMEOUT_SECONDS: env.seconds({
    description: 'The longest one request to Google may take.',
    default: 30,
  }),
};

export type MailConfig = Environment<typeof mailVariables>;

/** A rule for `WorkerCommand.check`: all three or none of client, secret and key, and keys that are keys. */
export function checkMail(config: MailConfig): readonly string[] {
  const { GMAIL_CLIENT_ID: id, GMAIL_CLIENT_SECRET: secret, ENCRYPTION_KEY: keys } = config;
  const faults: string[] = [];
  if ((id === undefined) !== (secret === undefined)) {
    faults.push(
      `expected GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET both to be set, or neither, but only ${
        id === undefined ? 'GMAIL_CLIENT_SECRET' : 'GMAIL_CLIENT_ID'
      } is`,
    );
  } else if (id !== undefined && keys === undefined) {
    faults.push(
      'expected ENCRYPTION_KEY to be set beside GMAIL_CLIENT_ID: tokens are never stored in the clear; make one with `openssl rand -base64 32`',
    );
  }
  // Without mail it is somebody else's variable, and of whatever form they like.
  if (id !== undefined && keys !== undefined) faults.push(...keyFaults(keys));
  return faults;
}

function keyFaults(keys: string): string[] {
  try {
    parseKeyring(keys);
    return [];
  } catch (error) {
    if (error instanceof GmailError) return [error.message];
    throw error;
  }
}

/** Undefined: not configured. */
export function openMail(
  config: MailConfig,
  resources: Pick<MailOptions, 'pool' | 'registry'>,
): Mail | undefined {
  const {
    GMAIL_CLIENT_ID: clientId,
    GMAIL_CLIENT_SECRET: clientSecret,
    ENCRYPTION_KEY: encryptionKey,
  } = config;
  if (clientId === undefined || clientSecret === undefined || encryptionKey === undefined) return undefined;
  return createMail({
    ...resources,
    clientId,
    clientSecret,
    encryptionKey,
    apiBase: config.GMAIL_API_BASE,
    timeoutMs: config.GMAIL_TIMEOUT_SECONDS * 1_000,
  });
}
