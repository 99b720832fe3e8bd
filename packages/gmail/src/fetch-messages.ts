// Fetches messages, some at a time, and finds those that cannot be had though all others can.

import { GmailError, isGmailError } from './gmail-error.ts';
import type { Message } from './message.ts';
import type { SyncSlice } from './sync-slice.ts';

export interface FetchedMessages {
  readonly found: readonly Message[];
  /** Not in the mailbox any more. */
  readonly gone: readonly string[];
  /** To be tried by themselves: something about the message itself. */
  readonly bad: readonly BadMessage[];
}

export interface BadMessage {
  readonly gmailId: string;
  readonly reason: string;
}

/** Gmail takes more at once, and then answers 429 to a mailbox that is read elsewhere as well. */
const AT_ONCE = 8;
/** As many may be bad for reasons of their own, though nothing else is on the page: else a mailbox would never get past them. */
const MOST_SUSPECTS = 4;

/** @throws GmailError when it is not the messages' fault; the signal's reason */
export async function fetchMessages(
  slice: Pick<SyncSlice, 'mailbox' | 'row' | 'signal' | 'progress'>,
  gmailIds: readonly string[],
): Promise<FetchedMessages> {
  const { mailbox, row, signal, progress } = slice;
  const found: Message[] = [];
  const gone: string[] = [];
  const bad: BadMessage[] = [];
  const suspects: { readonly gmailId: string; readonly error: GmailError }[] = [];
  const stopped = new AbortController();
  const context = { signal: AbortSignal.any([signal, stopped.signal]), progress };
  const left = gmailIds.values();

  async function fetchSome(): Promise<void> {
    for (const gmailId of left) {
      try {
        const message = await mailbox.message(gmailId, { withText: row.withText }, context);
        if (message === undefined) gone.push(gmailId);
        else found.push(message);
      } catch (error) {
        context.signal.throwIfAborted();
        const blame = blameFor(error);
        if (blame === 'mailbox') throw error;
        const reason = error instanceof Error ? error.message : String(error);
        if (blame === 'message') bad.push({ gmailId, reason });
        else suspects.push({ gmailId, error: error as GmailError });
        // All so far: nobody waits for hundreds of requests that nobody answers.
        if (suspects.length >= MOST_SUSPECTS && found.length + gone.length + bad.length === 0) throw error;
      }
      progress();
    }
  }

  const workers = Array.from({ length: Math.min(AT_ONCE, gmailIds.length) }, fetchSome);
  try {
    await Promise.all(workers);
  } catch (error) {
    stopped.abort(error);
    await Promise.allSettled(workers);
    throw error;
  }
  if (suspects.length > 0) {
    const [first] = suspects;
    // Most of several: that is no coincidence. Else ask whether Gmail answers for this mailbox at all.
    const isMost = suspects.length * 2 > gmailIds.length;
    if (first !== undefined && suspects.length >= MOST_SUSPECTS && isMost) throw first.error;
    await mailbox.profile({ signal, progress });
    bad.push(...suspects.map(({ gmailId, error }) => ({ gmailId, reason: error.message })));
  }
  return { found, gone, bad };
}

/** `unclear`: Google broke over it, or never came to its end, which may be the message, or a bad day of Google's. */
function blameFor(error: unknown): 'message' | 'mailbox' | 'unclear' {
  if (isGmailError(error, 'GMAIL_AWAY')) return 'unclear';
  if (isGmailError(error, 'GMAIL_REQUEST_REFUSED')) return error.status === 401 ? 'mailbox' : 'message';
  // Whatever breaks over the content of a message that was answered is a fault of reading it.
  return isGmailError(error, 'GMAIL_ANSWER_INVALID') || !(error instanceof GmailError)
    ? 'message'
    : 'mailbox';
}
