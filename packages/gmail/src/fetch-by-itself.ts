// Fetches messages that could not be had with others, each under an event of its own, which fails by itself.

import type { EventFailure } from '@pulsebox/outbox';
import { fetchMessages } from './fetch-messages.ts';
import { storeMessages, NO_CHANGES } from './message-store.ts';
import { fenced } from './sync-slice.ts';
import type { SyncSlice } from './sync-slice.ts';
import { isValueFault } from './value-fault.ts';
import type { MessageWork } from './work.ts';

/** @throws GmailError when it is not the message's fault; the signal's reason */
export async function fetchByItself(
  slice: SyncSlice,
  messages: readonly MessageWork[],
): Promise<EventFailure[]> {
  const failures: EventFailure[] = [];
  for (const { gmailId, position } of messages) {
    const { found, gone, bad } = await fetchMessages(slice, [gmailId]);
    const [failure] = bad;
    if (failure !== undefined) {
      failures.push({ position, reason: failure.reason, retryable: true });
      continue;
    }
    try {
      // Told of as new if it is news yet: by the time it can be read, its user may have waited for it for hours.
      const changes = { ...NO_CHANGES, upserted: found, deleted: gone, arrived: new Set([gmailId]) };
      const counts = await fenced(slice, (client) => storeMessages(client, slice.row, changes));
      slice.metrics?.messages.inc({ operation: 'stored' }, counts.stored);
      slice.metrics?.messages.inc({ operation: 'notified' }, counts.notified);
    } catch (error) {
      if (!isValueFault(error)) throw error;
      failures.push({
        position,
        // Its own words may quote what somebody wrote.
        reason: `the database refused the message (SQLSTATE ${error.code})`,
        retryable: false,
      });
    }
    slice.progress();
  }
  return failures;
}
