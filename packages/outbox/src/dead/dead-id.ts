// How people name a parked event: `search/1042`, the group that could not deliver it and its position in the log.

import { OutboxError } from '../outbox-error.ts';

export interface DeadId {
  readonly group: string;
  readonly position: number;
}

export function formatDeadId({ group, position }: DeadId): string {
  return `${group}/${position}`;
}

/** @throws OUTBOX_FILTER_INVALID */
export function parseDeadId(text: string): DeadId {
  const [, group, digits] = /^([a-z][a-z0-9-]{0,62})\/([1-9]\d{0,15})$/.exec(text) ?? [];
  const position = Number(digits);
  if (group !== undefined && Number.isSafeInteger(position)) return { group, position };
  throw new OutboxError(
    'OUTBOX_FILTER_INVALID',
    `expected the id of an event, its group and position such as "search/1042", got ${JSON.stringify(text)}`,
    { hint: '`pulsebox dead list` shows the ids of dead letters' },
  );
}
