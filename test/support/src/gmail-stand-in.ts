// A stand-in for Gmail and Google's OAuth over real HTTP, as far as Pulsebox goes: mailboxes with a history that is paged
// and forgotten, access tokens that run out, grants that are revoked, quota that is counted, watches. Faults are injected
// by tests; every request is recorded.

import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MailboxState } from './gmail-mailbox.ts';
import type { GmailNotification, GmailStandInMailbox } from './gmail-mailbox.ts';
import { answerApi, googleError } from './gmail-routes.ts';
import type { GmailAnswer } from './gmail-routes.ts';

export interface GmailStandInOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Of each mailbox. Default 15,000, as Google's. */
  readonly unitsPerMinute?: number;
  /** Default `gmail.readonly`. */
  readonly scope?: string;
}

export interface RecordedGmailRequest {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  readonly search: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The mailbox whose token it came with. */
  readonly email: string | undefined;
  readonly body: string;
}

/** What happens to a request instead of its answer. */
export type GmailFault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly body?: string | ((search: URLSearchParams) => string);
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** As Google says it: `{error: {errors: [{reason}]}}`. */
  | {
      readonly kind: 'error';
      readonly status: number;
      readonly reason: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Nothing, ever. */
  | { readonly kind: 'silence' }
  /** The connection breaks, before the answer or in the middle of it. */
  | { readonly kind: 'reset' | 'half' };

export interface GmailFaultInjection {
  readonly path: RegExp;
  /** Only requests of this mailbox. */
  readonly email?: string;
  /** How many requests it meets. Default 1. */
  readonly times?: number;
  readonly fault: GmailFault;
}

export interface GmailStandIn {
  /** For GMAIL_API_BASE. */
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly requests: readonly RecordedGmailRequest[];
  /** Recorded requests whose path matches. */
  requestsTo(path: RegExp): RecordedGmailRequest[];
  forgetRequests(): void;
  /** Makes a mailbox, or returns that of the address. */
  mailbox(email: string): GmailStandInMailbox;
  inject(injection: GmailFaultInjection): void;
  /** Ends all injections. */
  heal(): void;
  /** Calls the listener with what Gmail would publish, for mailboxes that are watched. */
  onNotification(listener: (notification: GmailNotification) => void): void;
  /** Whoever opens the consent page from now on is this mailbox's user, and consents. */
  consentAs(email: string): void;
  /** The most requests that were under way at once. */
  readonly mostAtOnce: number;
  close(): Promise<void>;
}

const CLIENT_ID = 'stand-in.apps.googleusercontent.com';
const CLIENT_SECRET = 'stand-in-secret';
const API = '/gmail/v1/users/me/';

interface Code {
  readonly mailbox: MailboxState;
  readonly redirectUri: string;
  readonly challenge: string;
}

export async function startGmailStandIn(options: GmailStandInOptions = {}): Promise<GmailStandIn> {
  const { unitsPerMinute = 15_000, scope = 'https://www.googleapis.com/auth/gmail.readonly' } = options;
  const mailboxes = new Map<string, MailboxState>();
  const requests: RecordedGmailRequest[] = [];
  const listeners: ((notification: GmailNotification) => void)[] = [];
  const codes = new Map<string, Code>();
  let injections: { injection: GmailFaultInjection; left: number }[] = [];
  let consenting: MailboxState | undefined;
  let underWay = 0;
  let mostAtOnce = 0;

  const server = createServer((request, response) => {
    underWay += 1;
    mostAtOnce = Math.max(mostAtOnce, underWay);
    response.once('close', () => (underWay -= 1));
    void respond(request, response).catch((error: unknown) => {
      send(response, googleError(500, 'standIn', String(error)));
    });
  });

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://stand-in');
    const method = request.method ?? 'GET';
    const body = await bodyOf(request);
    const mailbox = mailboxOf(request.headers.authorization);
    const { authorization, 'content-type': contentType, traceparent } = request.headers;
    requests.push({
      method,
      path: url.pathname,
      search: url.searchParams,
      headers: {
        authorization,
        'content-type': contentType,
        ...(typeof traceparent === 'string' ? { traceparent } : {}),
      },
      email: mailbox?.email,
      body,
    });
    const fault = faultFor(url, mailbox);
    if (fault?.kind === 'silence') return;
    if (fault?.kind === 'reset') {
      request.socket.destroy();
      return;
    }
    if (fault?.kind === 'half') {
      response.writeHead(200, { 'content-length': 1_000 });
      response.write('{"id":', () => request.socket.destroy());
      return;
    }
    if (fault?.kind === 'answer') {
      const { status, headers, body: answer } = fault;
      response
        .writeHead(status, headers)
        .end(typeof answer === 'function' ? answer(url.searchParams) : answer);
      return;
    }
    if (fault?.kind === 'error') {
      send(response, {
        ...googleError(fault.status, fault.reason, 'injected'),
        ...(fault.headers === undefined ? {} : { headers: fault.headers }),
      });
      return;
    }
    if (url.pathname === '/token') send(response, token(new URLSearchParams(body)));
    else if (url.pathname === '/o/oauth2/v2/auth') consent(url.searchParams, response);
    else if (!url.pathname.startsWith(API)) send(response, googleError(404, 'notFound', 'no such page'));
    else if (mailbox === undefined) send(response, googleError(401, 'authError', 'Invalid Credentials'));
    else {
      const asked = {
        method,
        path: url.pathname.slice(API.length),
        search: url.searchParams,
        body: body === '' ? undefined : JSON.parse(body),
      };
      send(response, answerApi(mailbox, asked, unitsPerMinute));
    }
  }

  function mailboxOf(authorization: string | undefined): MailboxState | undefined {
    const accessToken = authorization?.replace(/^Bearer /, '') ?? '';
    return [...mailboxes.values()].find((mailbox) => mailbox.accessTokens.has(accessToken));
  }

  function faultFor(url: URL, mailbox: MailboxState | undefined): GmailFault | undefined {
    const found = injections.find(
      ({ injection, left }) =>
        left > 0 &&
        injection.path.test(url.pathname) &&
        (injection.email === undefined || injection.email === mailbox?.email),
    );
    if (found === undefined) return undefined;
    found.left -= 1;
    return found.injection.fault;
  }

  function token(form: URLSearchParams): GmailAnswer {
    if (form.get('client_id') !== CLIENT_ID || form.get('client_secret') !== CLIENT_SECRET)
      return oauthError(401, 'invalid_client');
    if (form.get('grant_type') === 'authorization_code') return exchange(form);
    const refreshToken = form.get('refresh_token');
    const mailbox = [...mailboxes.values()].find((one) => one.refreshToken === refreshToken && !one.revoked);
    return mailbox === undefined ? oauthError(400, 'invalid_grant') : tokens(mailbox, false);
  }

  function exchange(form: URLSearchParams): GmailAnswer {
    const code = form.get('code') ?? '';
    const known = codes.get(code);
    codes.delete(code);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const fits = known?.challenge === challenge && known.redirectUri === form.get('redirect_uri');
    return known === undefined || !fits ? oauthError(400, 'invalid_grant') : tokens(known.mailbox, true);
  }

  function tokens(mailbox: MailboxState, first: boolean): GmailAnswer {
    const accessToken = `ya29.access-${randomBytes(12).toString('hex')}`;
    mailbox.accessTokens.add(accessToken);
    return {
      status: 200,
      body: {
        access_token: accessToken,
        expires_in: 3_599,
        scope,
        token_type: 'Bearer',
        ...(first ? { refresh_token: mailbox.refreshToken } : {}),
      },
    };
  }

  function consent(search: URLSearchParams, response: ServerResponse): void {
    const redirectUri = search.get('redirect_uri') ?? '';
    const back = new URL(redirectUri);
    back.searchParams.set('state', search.get('state') ?? '');
    if (consenting === undefined) back.searchParams.set('error', 'access_denied');
    else {
      const code = `4/code-${randomBytes(8).toString('hex')}`;
      codes.set(code, { mailbox: consenting, redirectUri, challenge: search.get('code_challenge') ?? '' });
      back.searchParams.set('code', code);
      back.searchParams.set('scope', scope);
    }
    response.writeHead(302, { location: back.href }).end();
  }

  function mailboxFor(email: string): MailboxState {
    const known = mailboxes.get(email.toLowerCase());
    if (known !== undefined) return known;
    const made = new MailboxState(email, (notification) => {
      if (made.watches.length > 0) for (const listener of listeners) listener(notification);
    });
    mailboxes.set(email.toLowerCase(), made);
    return made;
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    requests,
    requestsTo: (path) => requests.filter((request) => path.test(request.path)),
    forgetRequests: () => void requests.splice(0),
    mailbox: mailboxFor,
    inject: (injection) => void injections.push({ injection, left: injection.times ?? 1 }),
    heal: () => void (injections = []),
    onNotification: (listener) => void listeners.push(listener),
    consentAs: (email) => void (consenting = mailboxFor(email)),
    get mostAtOnce(): number {
      return mostAtOnce;
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function oauthError(status: number, error: string): GmailAnswer {
  return { status, body: { error, error_description: 'injected by the stand-in' } };
}

function send(response: ServerResponse, { status, body, headers }: GmailAnswer): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=UTF-8', ...headers });
  response.end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
