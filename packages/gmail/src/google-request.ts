// One request to Google: with a deadline, a cap on what is read of the answer, and faults told apart.

import { GmailError } from './gmail-error.ts';
import { answeredFault, unreachableFault, unreadableFault } from './google-fault.ts';

export interface GoogleRequest {
  /** What is being done, for people: `reading the history of mailbox 7`. */
  readonly doing: string;
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly accessToken?: string | undefined;
  /** Sent as JSON, or as a form. */
  readonly json?: unknown;
  readonly form?: URLSearchParams | undefined;
  readonly signal: AbortSignal;
}

export interface GoogleTransport {
  /** The longest one request may take, its answer included, in milliseconds. */
  readonly timeoutMs: number;
  /** The most that is read of an answer. */
  readonly maxAnswerBytes: number;
}

/** Sends it once and returns the JSON of a 2xx. @throws GmailError, or the signal's reason */
export async function sendToGoogle(
  request: GoogleRequest,
  { timeoutMs, maxAnswerBytes }: GoogleTransport,
): Promise<unknown> {
  const { doing, signal } = request;
  signal.throwIfAborted();
  // Taken down when the answer is there: hundreds of signals that wait for their half minute are memory for nothing.
  const bounded = new AbortController();
  const onAbort = (): void => bounded.abort(signal.reason);
  const timer = setTimeout(() => bounded.abort(new DOMException('no answer', 'TimeoutError')), timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: {
        accept: 'application/json',
        ...(request.accessToken === undefined ? {} : { authorization: `Bearer ${request.accessToken}` }),
        ...(request.json === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.json === undefined ? {} : { body: JSON.stringify(request.json) }),
      ...(request.form === undefined ? {} : { body: request.form }),
      // A token is for the host that it was meant for.
      redirect: 'error',
      signal: bounded.signal,
    });
    const text = await readText(response, maxAnswerBytes, doing);
    if (!response.ok) throw answeredFault(response, text, doing);
    return parse(text, response.status, doing);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof GmailError) throw error;
    throw unreachableFault(error, doing);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function readText(response: Response, maxBytes: number, doing: string): Promise<string> {
  if (response.body === null) return '';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop early cancels the rest of the body.
  for await (const chunk of response.body) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) {
      throw new GmailError('GMAIL_ANSWER_INVALID', `${doing}: the answer is larger than ${maxBytes} bytes`, {
        hint: 'a message of such a size is stored without its text; any other answer of such a size is not of Gmail',
        status: response.status,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string, status: number, doing: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its message would quote the answer.
    throw unreadableFault(status, doing);
  }
}
