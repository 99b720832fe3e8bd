// A message as Gmail gives it, and as it is stored: who, to whom, about what, and its text as far as it may be read.

import { field, googleId, labelIds, list, optionalText, text } from './gmail-answers.ts';
import { GmailError } from './gmail-error.ts';
import { textOfHtml } from './html-text.ts';

export interface Message {
  readonly gmailId: string;
  readonly threadId: string;
  readonly labels: readonly string[];
  readonly sender: string;
  readonly recipients: string;
  readonly subject: string;
  readonly snippet: string;
  /** Null: none was asked for, or the message has none. */
  readonly text: string | null;
  readonly sentAt: Date;
  readonly sizeBytes: number;
}

/** In characters. What is longer than its place is cut: mail is found by what stands at its beginning. */
const LONGEST_TEXT = 100_000;
const LONGEST_HEADER = 2_000;
/** Parts lie within parts: a mail that nests deeper than this is not written for people. */
const DEEPEST = 20;

/** @throws GMAIL_ANSWER_INVALID */
export function parseMessage(answer: unknown, gmailId: string): Message {
  const payload = field(answer, 'payload');
  const headers = new Map(
    list(payload, 'headers').map((header) => [
      optionalText(header, 'name')?.toLowerCase() ?? '',
      optionalText(header, 'value') ?? '',
    ]),
  );
  const header = (name: string): string => storable(headers.get(name) ?? '', LONGEST_HEADER);
  const body = textOf(payload);
  return {
    gmailId,
    threadId: googleId(answer, 'threadId', 'a message'),
    labels: labelIds(answer),
    sender: header('from'),
    recipients: [header('to'), header('cc')].filter((line) => line !== '').join(', '),
    subject: header('subject'),
    snippet: storable(withoutEntities(optionalText(answer, 'snippet') ?? ''), LONGEST_HEADER),
    text: body === undefined ? null : storable(body, LONGEST_TEXT),
    sentAt: dateOf(answer),
    sizeBytes: sizeOf(answer),
  };
}

/** Years of four digits, as ISO 8601 writes them, and JavaScript and PostgreSQL agree on. */
const EARLIEST_MS = Date.UTC(1000, 0);
const LATEST_MS = Date.UTC(10_000, 0);

/** Mail that was imported has the date that it claims, which may be any: the beginning of 1970 if there is no such year. */
function dateOf(answer: unknown): Date {
  const digits = text(answer, 'internalDate', 'a message');
  if (!/^-?\d{1,30}$/.test(digits)) {
    throw new GmailError('GMAIL_ANSWER_INVALID', 'expected internalDate to be a whole number in a message', {
      hint: 'check GMAIL_API_BASE, and any proxy on the way to Google',
    });
  }
  const ms = Number(digits);
  return new Date(ms >= EARLIEST_MS && ms < LATEST_MS ? ms : 0);
}

/** An estimate of Google's: nothing hangs on it. */
function sizeOf(answer: unknown): number {
  const size = field(answer, 'sizeEstimate');
  return typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : 0;
}

/** Its plain text; without one, what is left of its HTML without tags. Attachments are passed over. */
function textOf(payload: unknown): string | undefined {
  const plain = firstPart(payload, 'text/plain');
  if (plain !== undefined) return plain;
  const html = firstPart(payload, 'text/html');
  // Bounded before anything looks at it: what is cut here would be cut later.
  return html === undefined ? undefined : withoutEntities(textOfHtml(html.slice(0, 10 * LONGEST_TEXT)));
}

function firstPart(part: unknown, type: string, depth = 0): string | undefined {
  if (depth > DEEPEST) return undefined;
  const isAttachment = optionalText(part, 'filename') !== undefined;
  const data = optionalText(field(part, 'body'), 'data');
  if (!isAttachment && optionalText(part, 'mimeType')?.toLowerCase() === type && data !== undefined)
    return decoded(data, part);
  for (const inner of list(part, 'parts')) {
    const found = firstPart(inner, type, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Base64url of the text in whatever character set its own header names. */
function decoded(data: string, part: unknown): string {
  const contentType = list(part, 'headers').find(
    (header) => optionalText(header, 'name')?.toLowerCase() === 'content-type',
  );
  const charset = /charset="?([\w.:-]+)/i.exec(optionalText(contentType, 'value') ?? '')?.[1] ?? 'utf-8';
  const bytes = Buffer.from(data, 'base64url');
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    // A character set that nobody knows.
    return bytes.toString('utf8');
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  apos: "'",
  gt: '>',
  lt: '<',
  nbsp: ' ',
  quot: '"',
};

function withoutEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (typeof name === 'string') return ENTITIES[name.toLowerCase()] ?? whole;
    const code = typeof decimal === 'string' ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code > 0 && code <= 0x10_ff_ff ? String.fromCodePoint(code) : ' ';
  });
}

/** As PostgreSQL can hold it: no zero characters, no halves of surrogate pairs, no longer than that. */
function storable(text: string, longest: number): string {
  return text.slice(0, longest).replaceAll('\0', ' ').toWellFormed();
}
