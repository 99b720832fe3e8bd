// What Gmail publishes when a mailbox changes: `{"emailAddress": "user@example.com", "historyId": "9876543210"}`.

import type { PulledMessage } from './pull-stream.ts';

export interface MailNotification {
  /** In lower case. */
  readonly emailAddress: string;
  /** Unsigned, 64 bits. */
  readonly historyId: bigint;
}

export type ParsedNotification =
  | { readonly understood: true; readonly notification: MailNotification }
  | { readonly understood: false; readonly reason: string };

/** RFC 5321 allows 254 characters in all. */
const ADDRESS = /^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u;
const LONGEST_ADDRESS = 254;

const GREATEST_HISTORY_ID = 2n ** 64n - 1n;

/** Gmail sends the history id as a number or as digits. JSON numbers are read as digits, since a double would round them. */
export function parseNotification({ data }: Pick<PulledMessage, 'data'>): ParsedNotification {
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(data);
    value = JSON.parse(text, keepDigits);
  } catch {
    return misunderstood('JSON in UTF-8', `${data.length} bytes of something else`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return misunderstood(
      'an object with emailAddress and historyId',
      Array.isArray(value) ? 'an array' : typeof value,
    );
  }
  const { emailAddress, historyId } = value as Readonly<Record<string, unknown>>;
  if (
    typeof emailAddress !== 'string' ||
    emailAddress.length > LONGEST_ADDRESS ||
    !ADDRESS.test(emailAddress)
  ) {
    return misunderstood('emailAddress to be a mail address', describe(emailAddress));
  }
  const digits = typeof historyId === 'string' && /^\d{1,20}$/.test(historyId) ? BigInt(historyId) : 0n;
  if (digits === 0n || digits > GREATEST_HISTORY_ID) {
    return misunderstood('historyId to be a positive whole number of 64 bits', describe(historyId));
  }
  return { understood: true, notification: { emailAddress: emailAddress.toLowerCase(), historyId: digits } };
}

function keepDigits(name: string, value: unknown, context?: { readonly source?: string }): unknown {
  return name === 'historyId' && typeof value === 'number' ? (context?.source ?? String(value)) : value;
}

function misunderstood(expected: string, got: string): ParsedNotification {
  return { understood: false, reason: `expected ${expected}, got ${got}` };
}

function describe(value: unknown): string {
  if (value === undefined) return 'none';
  if (typeof value !== 'string') return value === null ? 'null' : typeof value;
  return value.length <= 40 ? JSON.stringify(value) : `a text of ${value.length} characters`;
}
