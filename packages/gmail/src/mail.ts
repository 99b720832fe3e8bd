// Mailboxes as a whole, for those who compose them: secrets, Google, the handler that syncs, watches.

import type { Handler } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import type { GmailApi } from './gmail-client.ts';
import { gmailMetrics } from './gmail-metrics.ts';
import type { GmailMetrics } from './gmail-metrics.ts';
import type { GoogleTransport } from './google-request.ts';
import { createGrants } from './grants.ts';
import { parseKeyring } from './keyring.ts';
import { singleStatements } from './mail-database.ts';
import { mailHandler } from './mail-handler.ts';
import type { OAuthClient } from './oauth.ts';
import {
  createMailboxQuotas,
  createQuota,
  MAILBOX_UNITS_PER_MINUTE,
  PROJECT_UNITS_PER_MINUTE,
} from './quota.ts';
import { createTokenVault } from './token-vault.ts';
import type { TokenVault } from './token-vault.ts';

export interface MailOptions {
  readonly pool: Pool;
  /** Of the OAuth client in Google's console. */
  readonly clientId: string;
  readonly clientSecret: string;
  /** ENCRYPTION_KEY: keys separated by commas, the active one first. */
  readonly encryptionKey: string;
  /** In place of Google's hosts, for all of API, tokens and consent. */
  readonly apiBase?: string | undefined;
  /** The longest one request may take, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Where metrics are registered. Without it there are none. */
  readonly registry?: Registry | undefined;
  /** The first wait before a request is tried again, in milliseconds. Default 500. */
  readonly firstRetryMs?: number | undefined;
  /** Units that Google lets one mailbox, and all of the project, spend in a minute. Default 15,000 and 1,200,000. */
  readonly unitsPerMinute?: { readonly mailbox: number; readonly project: number } | undefined;
}

export interface MailSyncOptions {
  /** For people who ask who holds a mailbox: `host/pid/random`. */
  readonly holder: string;
  /** See `MailHandlerOptions`. */
  readonly concurrency?: number;
  readonly sliceMs?: number;
  readonly leaseTtlMs?: number;
}

export interface Mail {
  readonly pool: Pool;
  readonly vault: TokenVault;
  readonly oauth: OAuthClient;
  readonly api: GmailApi;
  readonly metrics: GmailMetrics | undefined;
  /** For the relay of the group `mail`, with `order: 'none'`. */
  handler(options: MailSyncOptions): Handler;
}

/** The largest messages without their attachments; whatever is larger is stored without its text. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** @throws GMAIL_KEYRING_INVALID */
export function createMail(options: MailOptions): Mail {
  const { pool, clientId, clientSecret, apiBase, timeoutMs = 30_000, registry, firstRetryMs } = options;
  const transport: GoogleTransport = { timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES };
  const vault = createTokenVault(parseKeyring(options.encryptionKey));
  const base = apiBase === undefined ? undefined : withSlash(apiBase);
  const oauth: OAuthClient = {
    clientId,
    clientSecret,
    consentUrl: new URL('o/oauth2/v2/auth', base ?? 'https://accounts.google.com/'),
    tokenUrl: new URL('token', base ?? 'https://oauth2.googleapis.com/'),
    transport,
  };
  const metrics = registry === undefined ? undefined : gmailMetrics(registry);
  const api: GmailApi = {
    baseUrl: new URL(base ?? 'https://gmail.googleapis.com/'),
    transport,
    grants: createGrants({ db: singleStatements(pool), vault, oauth }),
    projectQuota: createQuota({
      unitsPerMinute: options.unitsPerMinute?.project ?? PROJECT_UNITS_PER_MINUTE,
    }),
    mailboxQuotas: createMailboxQuotas({
      unitsPerMinute: options.unitsPerMinute?.mailbox ?? MAILBOX_UNITS_PER_MINUTE,
    }),
    metrics,
    firstRetryMs,
  };
  return {
    pool,
    vault,
    oauth,
    api,
    metrics,
    handler: (sync) => mailHandler({ ...sync, pool, api, metrics }),
  };
}

/** Without it the last part of a path would be replaced, not kept. */
function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`;
}
