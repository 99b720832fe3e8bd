// The end of a reader that was replaced: what it was about to store belongs to another one now.

import { OutboxError } from '../outbox-error.ts';

export function leaseLost(group: string, what: string): OutboxError {
  return new OutboxError(
    'OUTBOX_LEASE_LOST',
    `group ${group}: another worker took over before ${what} was stored`,
    {
      hint: 'its events are delivered again by the worker that holds the lease now; frequent losses mean that leases are too short for this machine',
    },
  );
}
