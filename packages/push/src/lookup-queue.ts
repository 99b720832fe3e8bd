// Whose turn it is to ask the system for a name. It answers on the few threads that a process has for all such work: a
// stranger whose names take their time to be resolved must not keep everybody else's from being resolved at all.

import type { LookupAddress, LookupOptions } from 'node:dns';
import { serviceOf } from './service.ts';

export type ResolveAll = (
  hostname: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void,
) => void;

/** Of four threads. */
const STRANGERS_AT_ONCE = 2;

/** More would have given up before it is their turn. */
const MOST_WAITING = 100;

/** The services that carry the world's browsers do not wait; the others do so for each other. */
export function queuedLookup(resolve: ResolveAll): ResolveAll {
  const waiting: (() => void)[] = [];
  let asking = 0;

  return (hostname, options, callback) => {
    if (serviceOf(`https://${hostname}`) !== 'other') {
      resolve(hostname, options, callback);
      return;
    }
    const ask = (): void => {
      asking += 1;
      resolve(hostname, options, (error, addresses) => {
        asking -= 1;
        waiting.shift()?.();
        callback(error, addresses);
      });
    };
    if (asking < STRANGERS_AT_ONCE) ask();
    else if (waiting.length < MOST_WAITING) waiting.push(ask);
    else callback(Object.assign(new Error('too many names at once'), { code: 'EAI_AGAIN' }), []);
  };
}
