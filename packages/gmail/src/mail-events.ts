// The events by which mailboxes are talked about: their topics, keys and payloads.

import type { JsonValue, NewEvent } from '@pulsebox/outbox';

/** A mailbox has changed, or should be looked at: one sync of it is to run. */
export const MAIL_CHANGED = 'mail.changed';
/** One message of a mailbox is to be fetched by itself, as it could not be with others. */
export const MAIL_MESSAGE = 'mail.message';

export interface MailChanged {
  readonly connectionId: string;
  /** What Google says the mailbox is at. Undefined: look, whatever is known. */
  readonly historyId?: bigint | undefined;
  /** Of a long sync that hands on to itself; see `app.mail_connections.continuation`. */
  readonly continuation?: bigint | undefined;
}

export interface MailMessage {
  readonly connectionId: string;
  readonly gmailId: string;
}

/** Ids are text in the payload: they have up to 20 digits, JSON's numbers hold 15. */
export function mailChanged({ connectionId, historyId, continuation }: MailChanged): NewEvent {
  return {
    topic: MAIL_CHANGED,
    key: `mailbox:${connectionId}`,
    payload: {
      connection_id: connectionId,
      ...(historyId === undefined ? {} : { history_id: historyId.toString() }),
      ...(continuation === undefined ? {} : { continuation: continuation.toString() }),
    },
  };
}

export function mailMessage({ connectionId, gmailId }: MailMessage): NewEvent {
  return {
    topic: MAIL_MESSAGE,
    key: `mail:${connectionId}/${gmailId}`,
    payload: { connection_id: connectionId, gmail_id: gmailId },
  };
}

/** Undefined: the payload is none of this topic. */
export function parseMailChanged(payload: JsonValue): MailChanged | undefined {
  const connectionId = uuidIn(payload, 'connection_id');
  if (connectionId === undefined) return undefined;
  const historyId = numberIn(payload, 'history_id');
  const continuation = numberIn(payload, 'continuation');
  if (historyId === 'invalid' || continuation === 'invalid') return undefined;
  return { connectionId, historyId, continuation };
}

/** Undefined: the payload is none of this topic. */
export function parseMailMessage(payload: JsonValue): MailMessage | undefined {
  const connectionId = uuidIn(payload, 'connection_id');
  const gmailId = fieldOf(payload, 'gmail_id');
  if (connectionId === undefined || typeof gmailId !== 'string' || !GMAIL_ID.test(gmailId)) return undefined;
  return { connectionId, gmailId };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const GMAIL_ID = /^[A-Za-z0-9_-]{1,100}$/;
const WHOLE_NUMBER = /^\d{1,20}$/;

function uuidIn(payload: JsonValue, name: string): string | undefined {
  const value = fieldOf(payload, name);
  return typeof value === 'string' && UUID.test(value.toLowerCase()) ? value.toLowerCase() : undefined;
}

function numberIn(payload: JsonValue, name: string): bigint | undefined | 'invalid' {
  const value = fieldOf(payload, name);
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return 'invalid';
  const text = typeof value === 'number' || typeof value === 'string' ? String(value) : '';
  return WHOLE_NUMBER.test(text) ? BigInt(text) : 'invalid';
}

function fieldOf(payload: JsonValue, name: string): JsonValue | undefined {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return undefined;
  return (payload as Readonly<Record<string, JsonValue | undefined>>)[name];
}
