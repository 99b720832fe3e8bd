// What the Gmail stand-in answers to each request of the API, errors in Google's own form.

import type { HistoryRecord, MailboxState } from './gmail-mailbox.ts';

export interface GmailAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What each method costs. */
const UNITS: Readonly<Record<string, number>> = {
  profile: 1,
  history: 2,
  messages: 5,
  message: 5,
  watch: 100,
};
const MINUTE_MS = 60_000;

export interface ApiRequest {
  readonly method: string;
  /** Below `/gmail/v1/users/me/`. */
  readonly path: string;
  readonly search: URLSearchParams;
  readonly body: unknown;
}

export function answerApi(mailbox: MailboxState, request: ApiRequest, unitsPerMinute: number): GmailAnswer {
  const [resource = '', id] = request.path.split('/');
  const name = resource === 'messages' && id !== undefined ? 'message' : resource;
  const wanted = name === 'watch' ? 'POST' : 'GET';
  // Whatever changes a mailbox is none of our business: a test that gets here has found a fault.
  if (UNITS[name] === undefined || request.method !== wanted)
    return googleError(405, 'methodNotAllowed', `${request.method} ${request.path}`);
  if (!spend(mailbox, UNITS[name], unitsPerMinute))
    return googleError(403, 'userRateLimitExceeded', 'User-rate limit exceeded.');
  if (name === 'profile') {
    return ok({
      emailAddress: mailbox.email,
      messagesTotal: mailbox.total,
      threadsTotal: mailbox.total,
      historyId: mailbox.historyId.toString(),
    });
  }
  if (name === 'history') return history(mailbox, request.search);
  if (name === 'messages') return messages(mailbox, request.search);
  if (name === 'watch') return watch(mailbox, request.body);
  const { search } = request;
  const message = mailbox.answerFor(
    id ?? '',
    search.get('format') ?? 'full',
    search.getAll('metadataHeaders'),
  );
  return message === undefined
    ? googleError(404, 'notFound', 'Requested entity was not found.')
    : ok(message);
}

function history(mailbox: MailboxState, search: URLSearchParams): GmailAnswer {
  const start = search.get('startHistoryId') ?? '';
  if (!/^\d+$/.test(start)) return googleError(400, 'invalidArgument', 'Invalid startHistoryId');
  const records = mailbox.historyFrom(BigInt(start));
  if (records === undefined) return googleError(404, 'notFound', 'Requested entity was not found.');
  const page = pageOf(mailbox, search);
  if (page === undefined) return googleError(400, 'invalidArgument', 'Invalid pageToken');
  const size = Number(search.get('maxResults') ?? 100);
  const shown = records.slice(page, page + size);
  const hasMore = page + size < records.length;
  return ok({
    ...(shown.length === 0 ? {} : { history: shown.map(recordBody) }),
    historyId: mailbox.historyId.toString(),
    ...(hasMore ? { nextPageToken: pageToken(mailbox, page + size) } : {}),
  });
}

function recordBody({ id, ...lists }: HistoryRecord): unknown {
  return { id: id.toString(), ...lists };
}

function messages(mailbox: MailboxState, search: URLSearchParams): GmailAnswer {
  const page = pageOf(mailbox, search);
  if (page === undefined) return googleError(400, 'invalidArgument', 'Invalid pageToken');
  const { mails, next } = mailbox.list(page, Number(search.get('maxResults') ?? 100));
  return ok({
    ...(mails.length === 0 ? {} : { messages: mails.map(({ id, threadId }) => ({ id, threadId })) }),
    resultSizeEstimate: mailbox.total,
    ...(next === undefined ? {} : { nextPageToken: pageToken(mailbox, next) }),
  });
}

function watch(mailbox: MailboxState, body: unknown): GmailAnswer {
  const topicName = (body as { topicName?: unknown } | undefined)?.topicName;
  if (typeof topicName !== 'string' || !/^projects\/[^/]+\/topics\/[^/]+$/.test(topicName))
    return googleError(400, 'invalidArgument', 'Invalid topicName');
  const { expiration } = mailbox.watch(topicName);
  return ok({ historyId: mailbox.historyId.toString(), expiration: String(expiration) });
}

function pageToken({ pageGeneration }: MailboxState, index: number): string {
  return Buffer.from(`${pageGeneration}/${index}`).toString('base64url');
}

/** Undefined: a token that is none of ours, or has expired. */
function pageOf({ pageGeneration }: MailboxState, search: URLSearchParams): number | undefined {
  const token = search.get('pageToken');
  if (token === null) return 0;
  const [generation, index] = Buffer.from(token, 'base64url').toString().split('/');
  return Number(generation) === pageGeneration ? Number(index) : undefined;
}

function spend({ spent }: MailboxState, units: number, unitsPerMinute: number): boolean {
  const now = Date.now();
  while ((spent[0]?.at ?? now) < now - MINUTE_MS) spent.shift();
  const total = spent.reduce((sum, one) => sum + one.units, 0);
  if (total + units > unitsPerMinute) return false;
  spent.push({ at: now, units });
  return true;
}

function ok(body: unknown): GmailAnswer {
  return { status: 200, body };
}

export function googleError(status: number, reason: string, message: string): GmailAnswer {
  return {
    status,
    body: { error: { code: status, message, errors: [{ message, domain: 'global', reason }] } },
  };
}
