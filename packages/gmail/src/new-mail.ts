// Which new mail a user is told of, and in what words.

import type { NewEvent } from '@pulsebox/outbox';
import type { Message } from './message.ts';

/** What is older is no news: mail that was imported, or that came while nobody looked. */
const NEWS_FOR_MS = 24 * 3_600_000;

const QUIET: ReadonlySet<string> = new Set(['SPAM', 'TRASH', 'SENT', 'DRAFT']);

/** Push services take some 4,000 bytes; a character may be six of them in JSON. */
const LONGEST_TITLE = 120;
const LONGEST_BODY = 300;

export function isWorthTelling({ labels, sentAt }: Message): boolean {
  const isInInbox = labels.includes('INBOX') && !labels.some((label) => QUIET.has(label));
  return isInInbox && Date.now() - sentAt.getTime() < NEWS_FOR_MS;
}

/** The sender and the subject. Later messages of a conversation take the place of earlier ones on the screen. */
export function newMailNotification(
  { userId, connectionId }: { readonly userId: string; readonly connectionId: string },
  mailId: string,
  message: Message,
): NewEvent {
  return {
    topic: 'push.requested',
    key: `user:${userId}`,
    payload: {
      user_id: userId,
      payload: {
        title: cut(senderName(message.sender) || 'New mail', LONGEST_TITLE),
        body: cut(message.subject || message.snippet || '(no subject)', LONGEST_BODY),
        tag: `mail:${message.threadId}`,
        data: { mail_id: mailId, connection_id: connectionId, thread_id: message.threadId },
      },
    },
  };
}

/** `"Grace Hopper" <grace@example.com>` is Grace Hopper. */
function senderName(sender: string): string {
  const at = sender.indexOf('<');
  const name = sender.slice(0, Math.max(at, 0)).trim().replace(/^"|"$/g, '').trim();
  return name === '' ? sender.trim().replace(/^<|>$/g, '') : name;
}

function cut(text: string, longest: number): string {
  return text.length <= longest ? text : `${text.slice(0, longest - 1).toWellFormed()}…`;
}
