// The import that one writes by hand: a statement a row, and one for its event.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import pg from 'pg';

export interface UpsertRowsInput {
  readonly url: string;
  /** NDJSON. */
  readonly path: string;
  readonly rows: number;
  readonly rowsPerTransaction: number;
}

/** $1 id, $2 name, $3 text, $4 data, $5 source. Result: the item's id. */
const UPSERT = `
  insert into app.items (org_id, canonical_id, name, text, data, source) values ('acme', $1, $2, $3, $4, $5)
  on conflict (org_id, canonical_id) do update
    set name = excluded.name, text = excluded.text, data = excluded.data, source = excluded.source, updated_at = now()
  returning item_id`;

/** $1 item. */
const EMIT = `
  insert into outbox.event (topic, key, payload)
  values ('item.upserted', 'item:' || $1, jsonb_build_object('item_id', $1::text, 'org_id', 'acme'))`;

/** How long it took, in milliseconds. */
export default async function upsertRows(input: UpsertRowsInput): Promise<number> {
  const { url, path, rows, rowsPerTransaction } = input;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const startedAtMs = performance.now();
  let done = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    if (done === rows) break;
    const {
      canonical_id: id,
      item,
      source,
    } = JSON.parse(line) as {
      canonical_id: string;
      item: { name: string; text: string };
      source: string;
    };
    const { name, text, ...data } = item;
    if (done % rowsPerTransaction === 0) await client.query('begin');
    const { rows: written } = await client.query<{ item_id: string }>({
      name: 'upsert',
      text: UPSERT,
      values: [id, name, text, data, source],
    });
    await client.query({ name: 'emit', text: EMIT, values: [written[0]?.item_id] });
    done += 1;
    if (done % rowsPerTransaction === 0 || done === rows) await client.query('commit');
  }
  const elapsedMs = performance.now() - startedAtMs;
  await client.end();
  return elapsedMs;
}
