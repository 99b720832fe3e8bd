// DNS for connections to push services. The addresses that are checked here are the ones that the socket connects to:
// nobody asks a second time, so a name that answers something else the second time gains nothing.

import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from './address.ts';
import { forbidden } from './endpoint.ts';
import { queuedLookup } from './lookup-queue.ts';
import type { ResolveAll } from './lookup-queue.ts';

const resolveWithSystem: ResolveAll = (hostname, options, callback) => {
  systemLookup(hostname, { ...options, all: true }, callback);
};

/**
 * A lookup for `tls.connect` that fails with PUSH_ENDPOINT_FORBIDDEN when any address of the name is not public: one
 * that has both kinds is a trap, not a push service.
 */
export function guardedLookup(resolve: ResolveAll = resolveWithSystem): LookupFunction {
  const ask = queuedLookup(resolve);
  return (hostname, options, callback) => {
    ask(hostname, options, (error, addresses) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const [first] = addresses;
      const inside = addresses.find(({ address }) => !isPublicAddress(address));
      if (first === undefined || inside !== undefined) {
        callback(forbidden(`${hostname} to have public addresses`, inside?.address ?? 'none'), '', 0);
      } else if (options.all === true) {
        callback(null, [...addresses]);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}
