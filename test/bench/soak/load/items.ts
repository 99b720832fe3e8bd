// A set of rows that are changed, archived, deleted and made anew, each change with its event in one transaction.

import { randomBytes, randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import type { Journeys } from '../journeys.ts';

interface Item {
  readonly id: string;
  version: number;
  state: 'live' | 'archived' | 'deleted';
  busy: boolean;
}

/** Of the changes of a live item. One that is not live comes back with its next change. */
const ARCHIVED = 0.08;
const DELETED = 0.08;
const TEXT_BYTES = 400;

/** Result: one row. $1 id, $2 version, $3 text. Locks the row, then emits. */
const UPSERT = `
  with item as (
    insert into app.items (item_id, org_id, canonical_id, name, text, data)
      values ($1::uuid, 'soak', $1::uuid::text, 'Item ' || $2::int, $3, jsonb_build_object('version', $2::int))
      on conflict (item_id) do update
        set name = excluded.name, text = excluded.text, data = excluded.data, archived_at = null, updated_at = now()
      returning item_id)
  select outbox.emit('item.upserted', jsonb_build_object('item_id', item_id), 'item:' || item_id) from item`;

/** Result: one row. $1 id. */
const ARCHIVE = `
  with item as (update app.items set archived_at = now(), updated_at = now() where item_id = $1 returning item_id)
  select outbox.emit('item.archived', jsonb_build_object('item_id', item_id), 'item:' || item_id) from item`;

/** Result: one row. $1 id. */
const DELETE = `
  with item as (delete from app.items where item_id = $1 returning item_id)
  select outbox.emit('item.archived', jsonb_build_object('item_id', item_id), 'item:' || item_id) from item`;

export interface ItemsLoad {
  /** Makes all of them. */
  fill(): Promise<void>;
  /** One change. */
  change(): Promise<void>;
  /** What the index should have: version by id. */
  live(): ReadonlyMap<string, number>;
}

export function itemsLoad(pool: Pool, count: number, journeys: Journeys): ItemsLoad {
  const items = Array.from(
    { length: count },
    (): Item => ({
      id: randomUUID(),
      version: 0,
      state: 'deleted',
      busy: false,
    }),
  );

  async function change(item: Item): Promise<void> {
    const draw = Math.random();
    const next =
      item.state !== 'live' || draw > ARCHIVED + DELETED ? 'live' : draw < ARCHIVED ? 'archived' : 'deleted';
    item.version += 1;
    const { id, version } = item;
    const journey = journeys.begin(id, { version, gone: next !== 'live' });
    try {
      if (next === 'live') await pool.query(UPSERT, [id, version, randomText()]);
      else await pool.query(next === 'archived' ? ARCHIVE : DELETE, [id]);
      item.state = next;
      journey.committed();
    } catch (error) {
      journey.abandoned();
      throw error;
    }
  }

  return {
    async fill(): Promise<void> {
      for (const item of items) await change(item);
    },
    async change(): Promise<void> {
      // Busy ones are few.
      let item = drawn(items);
      while (item.busy) item = drawn(items);
      item.busy = true;
      try {
        await change(item);
      } finally {
        item.busy = false;
      }
    },
    live: () =>
      new Map(items.filter(({ state }) => state === 'live').map(({ id, version }) => [id, version])),
  };
}

function drawn(items: readonly Item[]): Item {
  const item = items[Math.floor(Math.random() * items.length)];
  if (item === undefined) throw new Error('there are no items');
  return item;
}

/** Does not compress, so that what is stored is of one size. */
function randomText(): string {
  return randomBytes(TEXT_BYTES * 0.75).toString('base64');
}
