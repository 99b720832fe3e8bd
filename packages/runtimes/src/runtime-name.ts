// What a user's Pod and Service are called: stable, safe as a DNS label, and another for every user.

import { createHash } from 'node:crypto';

const PREFIX = 'openclaw-';
/** Of a DNS label (RFC 1123), which the name of a Service is. */
const LONGEST_LABEL = 63;
const HASH_LENGTH = 20;
const LONGEST_SLUG = LONGEST_LABEL - PREFIX.length - HASH_LENGTH - 2;

/**
 * `openclaw-<user>` where the user's id is safe as it stands, as UUIDs are. Any other id becomes what can be kept of it,
 * two hyphens, and 80 bits of its SHA-256. Two hyphens make no id safe, so no user can take another's name by choosing
 * an id.
 */
export function runtimeName(userId: string): string {
  return `${PREFIX}${userLabel(userId)}`;
}

/** The user's id as the value of a label. */
export function userLabel(userId: string): string {
  if (isSafe(userId)) return userId;
  const slug = userId
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, LONGEST_SLUG)
    .replaceAll(/^-|-$/g, '');
  const hash = createHash('sha256').update(userId).digest('hex').slice(0, HASH_LENGTH);
  return slug === '' ? `u--${hash}` : `${slug}--${hash}`;
}

function isSafe(userId: string): boolean {
  return (
    userId.length <= LONGEST_LABEL - PREFIX.length &&
    /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(userId) &&
    !userId.includes('--')
  );
}
