// From the events of a batch to what is to be done: each mailbox once, however many events name it.

import type { EventFailure, OutboxEvent } from '@pulsebox/outbox';
import { MAIL_CHANGED, MAIL_MESSAGE, parseMailChanged, parseMailMessage } from './mail-events.ts';
import type { SyncRequest } from './sync-mailbox.ts';

export interface MailboxWork {
  readonly connectionId: string;
  /** Of this mailbox, of both topics. */
  readonly events: readonly OutboxEvent[];
  /** Undefined: no event asks for a sync. */
  readonly sync: SyncRequest | undefined;
  readonly messages: readonly MessageWork[];
}

export interface MessageWork {
  readonly gmailId: string;
  readonly position: number;
}

export interface BatchWork {
  readonly mailboxes: readonly MailboxWork[];
  /** Events that no retry would mend. */
  readonly failures: readonly EventFailure[];
}

interface Gathered {
  readonly connectionId: string;
  readonly events: OutboxEvent[];
  sync: { historyId: bigint | undefined; look: boolean; continuations: bigint[] } | undefined;
  readonly messages: MessageWork[];
}

export function workOf(events: readonly OutboxEvent[]): BatchWork {
  const mailboxes = new Map<string, Gathered>();
  const failures: EventFailure[] = [];
  const gathered = (connectionId: string, event: OutboxEvent): Gathered => {
    const known = mailboxes.get(connectionId) ?? { connectionId, events: [], sync: undefined, messages: [] };
    known.events.push(event);
    mailboxes.set(connectionId, known);
    return known;
  };
  for (const event of events) {
    if (event.topic === MAIL_CHANGED) {
      const asked = parseMailChanged(event.payload);
      if (asked === undefined) {
        failures.push(invalid(event, 'a connection_id, and whole numbers as history_id and continuation'));
        continue;
      }
      const work = gathered(asked.connectionId, event);
      work.sync ??= { historyId: undefined, look: false, continuations: [] };
      if (asked.continuation !== undefined) work.sync.continuations.push(asked.continuation);
      else if (asked.historyId === undefined) work.sync.look = true;
      else if (work.sync.historyId === undefined || asked.historyId > work.sync.historyId)
        work.sync.historyId = asked.historyId;
    } else if (event.topic === MAIL_MESSAGE) {
      const asked = parseMailMessage(event.payload);
      if (asked === undefined) failures.push(invalid(event, 'a connection_id and a gmail_id'));
      else
        gathered(asked.connectionId, event).messages.push({
          gmailId: asked.gmailId,
          position: event.position,
        });
    }
  }
  return {
    mailboxes: [...mailboxes.values()],
    failures,
  };
}

function invalid({ position, topic }: OutboxEvent, expected: string): EventFailure {
  return {
    position,
    reason: `expected the payload of ${topic} to have ${expected} (GMAIL_EVENT_INVALID)`,
    retryable: false,
  };
}
