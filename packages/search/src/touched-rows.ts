// From events to the rows that they touched: each row once, however many events name it.

import type { JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { canonicalId } from './document-id.ts';
import type { VerifiedProjection } from './projection.ts';

/** Why an event could not be used: its payload has no id at the path, or one that the view's column cannot hold. */
export const skipReasons = ['missing_id', 'invalid_id'] as const;
export type SkipReason = (typeof skipReasons)[number];

export interface SkippedEvent {
  readonly position: number;
  readonly topic: string;
  readonly projection: string;
  readonly reason: SkipReason;
}

export interface TouchedRows {
  /** In the order in which the rows were first named. Projections that nothing touched are not here. */
  readonly idsByProjection: ReadonlyMap<VerifiedProjection, readonly string[]>;
  readonly skipped: readonly SkippedEvent[];
}

/**
 * Events of topics that no projection names are none of ours. Projections may share a topic (`item.upserted` tells of
 * items and of mail): an event need name a row of one of them only.
 */
export function touchedRows(
  events: readonly OutboxEvent[],
  projections: readonly VerifiedProjection[],
): TouchedRows {
  const found = new Map<VerifiedProjection, Set<string>>();
  const skipped: SkippedEvent[] = [];
  for (const { position, topic, payload } of events) {
    const missed: SkippedEvent[] = [];
    let namesRow = false;
    for (const projection of projections) {
      if (!projection.topics.includes(topic)) continue;
      const value = valueAt(payload, projection.idPath);
      const id = canonicalId(value, projection.idType);
      if (id === undefined) {
        const reason = value === undefined || value === null ? 'missing_id' : 'invalid_id';
        missed.push({ position, topic, projection: projection.name, reason });
        continue;
      }
      namesRow = true;
      const ids = found.get(projection) ?? new Set();
      found.set(projection, ids.add(id));
    }
    const worst = missed.find(({ reason }) => reason === 'invalid_id') ?? (namesRow ? undefined : missed[0]);
    if (worst !== undefined) skipped.push(worst);
  }
  return {
    idsByProjection: new Map([...found].map(([projection, ids]) => [projection, [...ids]])),
    skipped,
  };
}

function valueAt(payload: JsonValue, path: string): JsonValue | undefined {
  let value: JsonValue | undefined = payload;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    value = Object.hasOwn(value, name) ? (value as Readonly<Record<string, JsonValue>>)[name] : undefined;
  }
  return value;
}
