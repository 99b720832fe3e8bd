// An endpoint: where the push service of a browser takes messages for it. It was named by a stranger.

import { isIP } from 'node:net';
import { isPublicAddress } from './address.ts';
import { PushError } from './push-error.ts';

export interface Endpoint {
  /** For instance `https://fcm.googleapis.com`. */
  readonly origin: string;
  readonly path: string;
}

export interface EndpointPolicy {
  /** Nothing is sent to any other origin. Default: every origin of the public internet, on port 443. */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** A push service of one's own: it may have an address inside the network, and any port. Default: none. */
  readonly privateOrigins?: readonly string[] | undefined;
}

export const LONGEST_ENDPOINT = 2_000;

/**
 * Checks all that can be seen without asking DNS; addresses are looked at when a connection is made.
 *
 * @throws PUSH_ENDPOINT_FORBIDDEN; the message has the origin at most: what comes after it is a secret of the user
 */
export function parseEndpoint(text: string, policy: EndpointPolicy = {}): Endpoint {
  const url = text.length <= LONGEST_ENDPOINT ? URL.parse(text) : null;
  if (url === null)
    throw forbidden('an endpoint that is a URL of at most 2,000 characters', 'something else');
  if (url.protocol !== 'https:') throw forbidden('an endpoint that starts with https://', url.protocol);
  if (url.username !== '' || url.password !== '')
    throw forbidden('an endpoint without user and password', `one with them, of ${url.host}`);
  const { origin } = url;
  const own = policy.privateOrigins?.includes(origin) === true;
  if (!own && policy.allowedOrigins !== undefined && !policy.allowedOrigins.includes(origin))
    throw forbidden('an endpoint of an allowed origin', origin);
  if (!own && policy.allowedOrigins === undefined && url.port !== '')
    throw forbidden('an endpoint on port 443', origin);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  // Of a name, the addresses are checked by the lookup; for an address there is no lookup.
  if (!own && isIP(host) !== 0 && !isPublicAddress(host))
    throw forbidden('an endpoint with a public address', host);
  return { origin, path: url.pathname + url.search };
}

/** Of a configuration: what is no origin would never match, and allow or forbid nothing. @throws PUSH_OPTIONS_INVALID */
export function parseOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' && url.pathname === '/' && url.search + url.hash + url.username === '')
    return url.origin;
  throw new PushError(
    'PUSH_OPTIONS_INVALID',
    `expected an origin such as https://fcm.googleapis.com, got ${JSON.stringify(text)}`,
    { hint: 'an origin is https://, a host, and a port if it is not 443; no path' },
  );
}

export function forbidden(expected: string, got: string): PushError {
  return new PushError('PUSH_ENDPOINT_FORBIDDEN', `expected ${expected}, got ${got}`, {
    hint: 'nothing was sent; a push service of your own can be named in PUSH_PRIVATE_ORIGINS',
  });
}
