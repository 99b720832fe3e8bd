// Who holds a lease on behalf of a person, for people who ask.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/** `host/pid/random` */
export function operator(): string {
  return `${hostname()}/${process.pid}/${randomBytes(4).toString('hex')}`;
}
