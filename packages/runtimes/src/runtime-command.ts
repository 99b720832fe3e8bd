// What events ask of runtimes.

import type { JsonValue, OutboxEvent } from '@pulsebox/outbox';

export const runtimeTopics = {
  start: 'runtime.start_requested',
  stop: 'runtime.stop_requested',
  settings: 'runtime.settings_changed',
} as const;

export interface RuntimeCommand {
  readonly wish: keyof typeof runtimeTopics;
  readonly userId: string;
  /** Undefined: that of the user's settings, or of the last start. */
  readonly orgId: string | undefined;
  /**
   * For knowing an event that comes again. Null where the event has not the key that keeps the order of a user's events:
   * then a smaller position does not mean that it was heeded.
   */
  readonly position: number | null;
}

export type ParsedCommand =
  | { readonly understood: true; readonly command: RuntimeCommand }
  | { readonly understood: false; readonly reason: string };

/** Longer ids are somebody's mistake; they end up in annotations and environment variables. */
const LONGEST_ID = 256;

/** The key that events of a user's runtime have, so that they are delivered in order. */
export function runtimeKey(userId: string): string {
  return `runtime:${userId}`;
}

/** Undefined: the event is none of ours. */
export function commandOf({ topic, key, payload, position }: OutboxEvent): ParsedCommand | undefined {
  const wish = (Object.keys(runtimeTopics) as (keyof typeof runtimeTopics)[]).find(
    (name) => runtimeTopics[name] === topic,
  );
  if (wish === undefined) return undefined;
  if (!isObject(payload)) return fault(topic, `expected an object with user_id, got ${kindOf(payload)}`);
  const { user_id: userId, org_id: orgId } = payload;
  if (!isId(userId)) return fault(topic, `expected user_id to be a string, got ${shown(userId)}`);
  if (orgId !== undefined && orgId !== null && !isId(orgId)) {
    return fault(topic, `expected org_id to be a string, got ${shown(orgId)}`);
  }
  return {
    understood: true,
    command: {
      wish,
      userId,
      orgId: orgId ?? undefined,
      position: key === runtimeKey(userId) ? position : null,
    },
  };
}

function isObject(value: JsonValue): value is { readonly [name: string]: JsonValue | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= LONGEST_ID &&
    /^[^\s\p{Cc}](?:[^\p{Cc}]*[^\s\p{Cc}])?$/u.test(value)
  );
}

function fault(topic: string, reason: string): ParsedCommand {
  return { understood: false, reason: `${topic}: ${reason}` };
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80);
}
