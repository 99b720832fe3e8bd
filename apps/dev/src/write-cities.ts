// What an application does: write rows, emit their events, commit both. Several writers at once.

import { emit } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import type { City } from './cities.ts';

export interface Written {
  readonly transactions: number;
  readonly rolledBack: number;
}

/** The most rows of a transaction; applications write one or a few. */
const ROWS_PER_TRANSACTION = 10;
const ROLLED_BACK_ONE_IN = 50;

/** What the rolled back transactions write. No search may ever find it. */
export const NEVER_COMMITTED = 'Atlantis Nevercommitted';

/** $1 organisation, $2 canonical id, $3 name, $4 text, $5 data. Result: the item's id. Index: items_org_id_canonical_id_key. */
const UPSERT_ITEM = `
  insert into app.items (org_id, canonical_id, name, text, data) values ($1, $2, $3, $4, $5)
  on conflict (org_id, canonical_id) do update
    set name = excluded.name, text = excluded.text, data = excluded.data, updated_at = now(), archived_at = null
  returning item_id`;

class RollBack extends Error {}

export async function writeCities(
  pool: Pool,
  cities: readonly City[],
  writers: number,
  onProgress: (written: number) => void,
): Promise<Written> {
  let next = 0;
  let written = 0;
  let transactions = 0;
  let rolledBack = 0;

  async function writer(): Promise<void> {
    while (next < cities.length) {
      const size = 1 + Math.floor(Math.random() * ROWS_PER_TRANSACTION);
      const chunk = cities.slice(next, next + size);
      next += chunk.length;
      if (Math.random() < 1 / ROLLED_BACK_ONE_IN) {
        await writeAndRollBack(pool, chunk);
        rolledBack += 1;
      }
      await transaction(pool, async (client) => {
        for (const city of chunk) await writeCity(client, city, city.name);
      });
      transactions += 1;
      written += chunk.length;
      onProgress(written);
    }
  }

  await Promise.all(Array.from({ length: writers }, writer));
  return { transactions, rolledBack };
}

async function writeAndRollBack(pool: Pool, chunk: readonly City[]): Promise<void> {
  const attempt = transaction(pool, async (client) => {
    for (const city of chunk) await writeCity(client, city, NEVER_COMMITTED);
    throw new RollBack();
  });
  await attempt.catch((error: unknown) => {
    if (!(error instanceof RollBack)) throw error;
  });
}

async function writeCity(client: PoolClient, city: City, name: string): Promise<void> {
  const [longitude, latitude] = city.loc.coordinates;
  const { rows } = await client.query<{ item_id: string }>(UPSERT_ITEM, [
    city.country.toLowerCase(),
    `geonames:${city.cityId}`,
    name,
    `City in ${city.country}, population ${city.population.toLocaleString('en')}`,
    JSON.stringify({
      population: city.population,
      longitude,
      latitude,
      country: city.country,
      region: city.adminCode,
    }),
  ]);
  const itemId = rows[0]?.item_id ?? '';
  // The upsert above has locked the row: events of one item come in the order in which it was written.
  await emit(client, { topic: 'item.upserted', key: `item:${itemId}`, payload: { item_id: itemId } });
}
