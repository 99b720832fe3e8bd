// What Gmail answers, read field by field: whatever is not as its documentation says is an error here, not later.

import { GmailError } from './gmail-error.ts';

export interface Profile {
  readonly email: string;
  /** Null: not said. */
  readonly messagesTotal: number | null;
  readonly historyId: bigint;
}

/** What happened to one message, in the order in which it did. */
export type HistoryChange =
  | { readonly kind: 'added'; readonly gmailId: string }
  | { readonly kind: 'deleted'; readonly gmailId: string }
  | {
      readonly kind: 'labelled' | 'unlabelled';
      readonly gmailId: string;
      readonly labels: readonly string[];
    };

export interface HistoryPage {
  readonly changes: readonly HistoryChange[];
  /** Of the last record on the page: where one may go on from. Undefined: the page is empty. */
  readonly lastRecordId: bigint | undefined;
  /** Where the mailbox is at. */
  readonly historyId: bigint;
  readonly nextPage: string | undefined;
}

export interface MessagePage {
  readonly gmailIds: readonly string[];
  readonly nextPage: string | undefined;
}

export interface Watch {
  readonly historyId: bigint;
  readonly expiresAt: Date;
}

export function parseProfile(answer: unknown): Profile {
  const total = field(answer, 'messagesTotal');
  return {
    email: text(answer, 'emailAddress', 'the profile'),
    messagesTotal: typeof total === 'number' && Number.isSafeInteger(total) && total >= 0 ? total : null,
    historyId: wholeNumber(answer, 'historyId', 'the profile'),
  };
}

export function parseHistory(answer: unknown): HistoryPage {
  const records = list(answer, 'history');
  const last = records.at(-1);
  return {
    changes: records.flatMap(changesOf),
    lastRecordId: last === undefined ? undefined : wholeNumber(last, 'id', 'a record of the history'),
    historyId: wholeNumber(answer, 'historyId', 'the history'),
    nextPage: pageToken(answer, 'the history'),
  };
}

/** An answer that says nothing is not an empty mailbox: all that is known of it would be marked as deleted. */
export function parseMessagePage(answer: unknown): MessagePage {
  if (field(answer, 'messages') === undefined && typeof field(answer, 'resultSizeEstimate') !== 'number')
    throw unexpected('messages or resultSizeEstimate', 'the list of messages');
  return {
    gmailIds: [...new Set(list(answer, 'messages').map((message) => messageId(message)))],
    nextPage: pageToken(answer, 'the list of messages'),
  };
}

const LONGEST_WATCH_MS = 7 * 24 * 3_600_000;

/** Whatever is answered, Gmail ends a watch after seven days. */
export function parseWatch(answer: unknown): Watch {
  const expiresAtMs = Number(wholeNumber(answer, 'expiration', 'the watch'));
  return {
    historyId: wholeNumber(answer, 'historyId', 'the watch'),
    expiresAt: new Date(Math.min(expiresAtMs, Date.now() + LONGEST_WATCH_MS)),
  };
}

/** Of a record only these four lists are of use; `messages` repeats what is in them. */
function changesOf(record: unknown): HistoryChange[] {
  const plain = (name: string, kind: 'added' | 'deleted'): HistoryChange[] =>
    list(record, name).map((entry) => ({ kind, gmailId: messageId(field(entry, 'message')) }));
  const labels = (name: string, kind: 'labelled' | 'unlabelled'): HistoryChange[] =>
    list(record, name).map((entry) => ({
      kind,
      gmailId: messageId(field(entry, 'message')),
      labels: labelIds(entry),
    }));
  return [
    ...plain('messagesAdded', 'added'),
    ...labels('labelsAdded', 'labelled'),
    ...labels('labelsRemoved', 'unlabelled'),
    ...plain('messagesDeleted', 'deleted'),
  ];
}

const GMAIL_ID = /^[A-Za-z0-9_-]{1,100}$/;

function messageId(message: unknown): string {
  return googleId(message, 'id', 'a message');
}

export function googleId(value: unknown, name: string, of: string): string {
  const id = text(value, name, of);
  if (GMAIL_ID.test(id)) return id;
  throw unexpected(`${name} to be of letters, digits, - and _`, of);
}

/** Of labels, `INBOX` or `Label_7`: what cannot be the id of one is left out. */
const LABEL = /^[^\s\p{Cc}\p{Cs}]{1,200}$/u;

export function labelIds(message: unknown): string[] {
  return [...new Set(list(message, 'labelIds'))].filter(
    (label): label is string => typeof label === 'string' && LABEL.test(label),
  );
}

const PAGE_TOKEN = /^[\x21-\x7e]{1,4000}$/;

/** Undefined: this is the last page. What is no token is not taken for the end of a list. */
function pageToken(answer: unknown, of: string): string | undefined {
  const token = field(answer, 'nextPageToken');
  if (token === undefined || token === '') return undefined;
  if (typeof token === 'string' && PAGE_TOKEN.test(token)) return token;
  throw unexpected('nextPageToken to be a token', of);
}

export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** A list that is empty is left out. */
export function list(value: unknown, name: string): unknown[] {
  const found = field(value, name);
  if (found === undefined || found === null) return [];
  if (Array.isArray(found)) return found;
  throw unexpected(`${name} to be a list`, 'an answer');
}

export function text(value: unknown, name: string, of: string): string {
  const found = field(value, name);
  if (typeof found === 'string' && found !== '') return found;
  throw unexpected(`${name} to be a text`, of);
}

export function optionalText(value: unknown, name: string): string | undefined {
  const found = field(value, name);
  return typeof found === 'string' && found !== '' ? found : undefined;
}

/** Google writes 64-bit numbers as text. */
export function wholeNumber(value: unknown, name: string, of: string): bigint {
  const found = field(value, name);
  if ((typeof found === 'string' || typeof found === 'number') && /^\d{1,20}$/.test(String(found)))
    return BigInt(found);
  throw unexpected(`${name} to be a whole number`, of);
}

function unexpected(expected: string, of: string): GmailError {
  return new GmailError(
    'GMAIL_ANSWER_INVALID',
    `expected ${expected} in ${of} of Gmail, got something else`,
    {
      hint: 'check GMAIL_API_BASE, and any proxy on the way to Google',
    },
  );
}
