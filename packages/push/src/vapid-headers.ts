// The Authorization header, signed once per origin and used for hours: signing costs more than half of an encryption,
// and Apple refuses tokens that are renewed more than once an hour.

import webPush from 'web-push';
import type { Vapid } from './vapid-keys.ts';

export interface VapidHeaders {
  /** The header for an origin such as `https://fcm.googleapis.com`. */
  authorization(origin: string): string;
}

export interface VapidHeadersOptions {
  /** Milliseconds since 1970. Default Date.now. */
  readonly now?: () => number;
}

/** RFC 8292 allows 24 hours; half of it leaves room for clocks that are wrong. */
const LIFETIME_SECONDS = 12 * 3_600;

/** A token is used for half its life: its other half is left for a service whose clock is ahead, or a slow request. */
const RENEW_AFTER_MS = (LIFETIME_SECONDS / 2) * 1_000;

/** Endpoints come from strangers: whoever makes up origins must not fill the memory. */
const MOST_ORIGINS = 1_000;

interface Signed {
  readonly header: string;
  readonly signedAtMs: number;
}

export function vapidHeaders(vapid: Vapid, { now = Date.now }: VapidHeadersOptions = {}): VapidHeaders {
  const signed = new Map<string, Signed>();
  return {
    authorization(origin): string {
      const nowMs = now();
      const known = signed.get(origin);
      // A clock that was set back would make a token that is not valid yet, or for too long.
      if (known !== undefined && nowMs >= known.signedAtMs && nowMs - known.signedAtMs < RENEW_AFTER_MS) {
        // The most recently used stands last, and is the last to be pushed out.
        signed.delete(origin);
        signed.set(origin, known);
        return known.header;
      }
      const { Authorization: header } = webPush.getVapidHeaders(
        origin,
        vapid.subject,
        vapid.publicKey,
        vapid.privateKey,
        'aes128gcm',
        Math.floor(nowMs / 1_000) + LIFETIME_SECONDS,
      );
      if (signed.size >= MOST_ORIGINS) signed.delete(signed.keys().next().value ?? origin);
      signed.delete(origin);
      signed.set(origin, { header, signedAtMs: nowMs });
      return header;
    },
  };
}
