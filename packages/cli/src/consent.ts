// A person grants access to a mailbox in their browser; the code comes back by itself, or is pasted.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { consentPage, exchangeCode } from '@pulsebox/gmail';
import type { Consent, OAuthClient, Tokens } from '@pulsebox/gmail';
import { CliError } from './cli-error.ts';

export interface ConsentOptions {
  readonly oauth: OAuthClient;
  /** Where the browser comes back to, on this machine. 0: any free port. */
  readonly port: number;
  /** Shows the page to open. */
  readonly show: (page: URL) => void;
  readonly signal: AbortSignal;
}

const DONE = 'Access was granted. You may close this page.\n';
const REFUSED = 'Access was not granted. You may close this page.\n';

/**
 * Shows the page on which access is granted, and waits for what comes first: the browser at a port of this machine, or a
 * line on standard input with the address that the browser ended on (where that machine is another one), or the code.
 *
 * @throws CLI_MAIL_CONSENT when access is refused, or something else comes back; GmailError
 */
export async function askConsent(options: ConsentOptions): Promise<Tokens> {
  const { oauth, port, show, signal } = options;
  const state = randomBytes(16).toString('base64url');
  const answer = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    // Browsers also ask for an icon.
    if (!url.searchParams.has('state')) {
      response.writeHead(404).end();
      return;
    }
    try {
      const code = codeIn(url, state);
      response.writeHead(200, { 'content-type': 'text/plain', connection: 'close' }).end(DONE);
      answer.resolve(code);
    } catch (error) {
      response.writeHead(400, { 'content-type': 'text/plain', connection: 'close' }).end(REFUSED);
      answer.reject(error);
    }
  });
  const lines = createInterface({ input: process.stdin });
  const onAbort = (): void => answer.reject(signal.reason);
  try {
    const redirectUri = `http://127.0.0.1:${await listen(server, port)}`;
    const consent: Consent = { redirectUri, state, codeVerifier: randomBytes(32).toString('base64url') };
    lines.on('line', (line) => {
      if (line.trim() === '') return;
      try {
        answer.resolve(codeInLine(line.trim(), state));
      } catch (error) {
        answer.reject(error);
      }
    });
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    show(consentPage(oauth, consent));
    return await exchangeCode(oauth, await answer.promise, consent, signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
    lines.close();
    // An open standard input would keep the process waiting.
    process.stdin.destroy();
    server.closeAllConnections();
    server.close();
  }
}

async function listen(server: ReturnType<typeof createServer>, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new CliError(
          'CLI_MAIL_CONSENT',
          `port ${port} cannot be listened on (${error.code ?? error.message})`,
          {
            hint: 'choose another with --port, or leave it out for any free one',
            cause: error,
          },
        ),
      );
    });
    // Nobody but this machine's own browser.
    server.listen(port, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

/** The whole address that the browser ended on, or only the code. */
function codeInLine(line: string, state: string): string {
  if (URL.canParse(line)) return codeIn(new URL(line), state);
  if (/^[\w./~+%-]{10,}$/.test(line)) return decodeURIComponent(line);
  throw new CliError(
    'CLI_MAIL_CONSENT',
    'expected the address that the browser ended on, or the code in it',
    {
      hint: 'copy all of the address, from http:// on; it has `code=` in it',
    },
  );
}

function codeIn(url: URL, state: string): string {
  const refusal = url.searchParams.get('error');
  if (refusal !== null) {
    throw new CliError('CLI_MAIL_CONSENT', `access was not granted (${refusal.replaceAll(/[^\w.-]/g, '')})`, {
      hint: 'run the command again and grant access; a Google Workspace may want its administrator to allow it first',
    });
  }
  if (url.searchParams.get('state') !== state) {
    throw new CliError('CLI_MAIL_CONSENT', 'the answer belongs to another attempt', {
      hint: 'open the address that this run has shown, not one of before',
    });
  }
  const code = url.searchParams.get('code');
  if (code !== null && code !== '') return code;
  throw new CliError('CLI_MAIL_CONSENT', 'expected a code in the address, found none', {
    hint: 'copy all of the address that the browser ended on',
  });
}
