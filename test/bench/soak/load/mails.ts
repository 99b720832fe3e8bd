// A mailbox in which a message comes now and then, and the oldest one goes.

import type { GmailStandInMailbox } from '@pulsebox/test-support';
import type { Journeys } from '../journeys.ts';

/** Of what its user is shown, and of what is found. */
export interface MailJourneys {
  readonly shown: Journeys;
  readonly indexed: Journeys;
}

export function mailLoad(
  mailbox: GmailStandInMailbox,
  { shown, indexed }: MailJourneys,
  most: number,
): () => Promise<void> {
  const ids: string[] = [];
  let delivered = 0;
  return async () => {
    delivered += 1;
    const subject = `mail ${delivered}`;
    for (const journeys of [shown, indexed]) journeys.begin(subject).committed();
    ids.push(mailbox.deliver({ subject, text: `Letter ${delivered}. `.repeat(30) }));
    const oldest = ids.length > most ? ids.shift() : undefined;
    if (oldest !== undefined) mailbox.remove(oldest);
  };
}
