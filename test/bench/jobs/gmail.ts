// The Gmail stand-in in a process of its own, with one mailbox.

import { startGmailStandIn } from '@pulsebox/test-support';
import type { Channel } from '../harness/channel.ts';

export interface GmailInput {
  readonly messages: number;
}

export interface GmailSaid {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken: string;
}

/** So that what is measured is who reads, not how much Google lets them read. */
const UNITS_PER_MINUTE = 1_000_000_000;

const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(40);

export default async function gmail({ messages }: GmailInput, channel: Channel): Promise<void> {
  const standIn = await startGmailStandIn({ unitsPerMinute: UNITS_PER_MINUTE });
  const mailbox = standIn.mailbox('ada@example.com');
  mailbox.fill(messages, (n) => ({ subject: `Mail number ${n}`, text: TEXT }));
  const { url, clientId, clientSecret } = standIn;
  const said: GmailSaid = { url, clientId, clientSecret, refreshToken: mailbox.refreshToken };
  channel.ready(said);
  await channel.stopped;
  await standIn.close();
}
