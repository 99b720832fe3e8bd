// What one would write: list the mailbox, fetch each message, insert its row.

import pg from 'pg';
import type { GmailSaid } from './gmail.ts';
import type { SyncOutput } from './sync-mailbox.ts';

export interface SyncPlainInput extends GmailSaid {
  readonly dbUrl: string;
  /** How many messages are fetched and inserted at the same time. */
  readonly concurrency: number;
}

export const CREATE_PLAIN_MESSAGES = `
  create table plain_message (
    gmail_id text primary key, thread_id text not null, labels text[] not null, sender text, recipients text, subject text,
    snippet text, text text, sent_at timestamptz not null, size_bytes bigint not null)`;

/** $1 to $10 the columns. */
const INSERT_MESSAGE = `
  insert into plain_message values ($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9::float8 / 1000), $10)`;

interface ListPage {
  readonly messages?: readonly { readonly id: string }[];
  readonly nextPageToken?: string;
}

interface GmailMessage {
  readonly id: string;
  readonly threadId: string;
  readonly labelIds: readonly string[];
  readonly snippet: string;
  readonly internalDate: string;
  readonly sizeEstimate: number;
  readonly payload: {
    readonly headers: readonly { readonly name: string; readonly value: string }[];
    readonly parts: readonly { readonly body: { readonly data: string } }[];
  };
}

export default async function syncPlain(input: SyncPlainInput): Promise<SyncOutput> {
  const { dbUrl, url, clientId, clientSecret, refreshToken, concurrency } = input;
  const pool = new pg.Pool({ connectionString: dbUrl, max: concurrency });
  await pool.query('select 1');
  const form = { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken };
  const granted = await fetch(`${url}/token`, {
    method: 'POST',
    body: new URLSearchParams({ ...form, grant_type: 'refresh_token' }),
  });
  const { access_token: token } = (await granted.json()) as { access_token: string };
  const get = async <Answer>(path: string): Promise<Answer> => {
    const answer = await fetch(`${url}/gmail/v1/users/me/${path}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return (await answer.json()) as Answer;
  };
  const store = async (id: string): Promise<void> => {
    const { payload, ...message } = await get<GmailMessage>(`messages/${id}?format=full`);
    const header = (name: string): string | undefined =>
      payload.headers.find((one) => one.name === name)?.value;
    const text = Buffer.from(payload.parts[0]?.body.data ?? '', 'base64url').toString();
    await pool.query(INSERT_MESSAGE, [
      message.id,
      message.threadId,
      message.labelIds,
      header('From'),
      header('To'),
      header('Subject'),
      message.snippet,
      text,
      Number(message.internalDate),
      message.sizeEstimate,
    ]);
  };

  const cpuAtStart = process.cpuUsage();
  const startedAtMs = performance.now();
  let page: string | undefined = '';
  while (page !== undefined) {
    const listed: ListPage = await get<ListPage>(
      `messages?maxResults=100${page === '' ? '' : `&pageToken=${page}`}`,
    );
    const left = (listed.messages ?? []).values();
    const storeSome = async (): Promise<void> => {
      for (const { id } of left) await store(id);
    };
    await Promise.all(Array.from({ length: concurrency }, storeSome));
    page = listed.nextPageToken;
  }
  const elapsedMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpuAtStart);
  await pool.end();
  return { elapsedMs, cpuSeconds: (user + system) / 1e6 };
}
