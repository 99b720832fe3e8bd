// Rows of the application, as tests write them.

import type { Pool } from 'pg';
import type { GivenEvent } from './search-lane.ts';

export interface GivenItem {
  readonly name: string;
  readonly organisation?: string;
  readonly canonicalId?: string;
  readonly text?: string;
  readonly data?: unknown;
}

let written = 0;

/** Writes items and returns their ids, in the order given. */
export async function writeItems(pool: Pool, items: readonly GivenItem[]): Promise<string[]> {
  const ids: string[] = [];
  for (const { name, organisation = 'acme', canonicalId, text = '', data = {} } of items) {
    written += 1;
    const { rows } = await pool.query<{ item_id: string }>(
      'insert into app.items (org_id, canonical_id, name, text, data) values ($1, $2, $3, $4, $5) returning item_id',
      [organisation, canonicalId ?? `item-${written}`, name, text, JSON.stringify(data)],
    );
    ids.push(rows[0]?.item_id ?? '');
  }
  return ids;
}

export async function archiveItem(pool: Pool, id: string): Promise<void> {
  await pool.query('update app.items set archived_at = now() where item_id = $1', [id]);
}

export function upserted(ids: readonly string[]): GivenEvent[] {
  return ids.map((id) => ({ topic: 'item.upserted', payload: { item_id: id } }));
}

export function archived(ids: readonly string[]): GivenEvent[] {
  return ids.map((id) => ({ topic: 'item.archived', payload: { item_id: id } }));
}
