// Items of a chunk into the table, together with their events; or, in a dry run, only what would become of them.

import { traceHeaders } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import pg from 'pg';
import type { ItemRow } from './item-row.ts';

export interface WriteOptions {
  readonly jobId: string;
  readonly orgId: string;
  readonly updateExisting: boolean;
  readonly emitEvents: boolean;
  readonly dryRun: boolean;
  /** Behind savepoints, so that a row that the database refuses is found: for a chunk that was refused as a whole. */
  readonly careful: boolean;
}

export interface ItemToWrite {
  /** Which row of the file. */
  readonly number: number;
  readonly line: number;
  readonly item: ItemRow;
}

export interface Written {
  readonly created: number;
  readonly updated: number;
  readonly unchanged: number;
  readonly skipped: number;
  /** What the database refused by itself: a constraint or a trigger of the application's, for instance. */
  readonly refused: readonly { readonly number: number; readonly line: number; readonly fault: string }[];
}

/**
 * Result: one row of counts. $1 organisation, $2 ids, $3 names, $4 texts, $5 data, $6 sources, $7 created, $8 updated at,
 * $9 hashes; $10 update what is there, $11 emit events, $12 their headers. No id twice.
 *
 * Each id is looked up by the unique index; `offset 0` keeps it a probe a row, whatever the statistics say of a table
 * that was empty a moment ago. Only rows that differ reach the upsert, since ON CONFLICT locks a row, which writes it,
 * also where its condition then says no. The condition is for what others have written since the look-up. Rows are
 * written in the order of their ids, so that two imports do not wait for each other in a circle; each event is written
 * after its row, under the row's lock, as the log asks for.
 */
export const WRITE_ITEMS = `
  with given as (
    select * from unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::timestamptz[],
                         $8::timestamptz[], $9::bytea[])
      as g(canonical_id, name, text, data, source, created_at, updated_at, content_hash)
  ), compared as materialized (
    select g.*, i.there is not null as there, coalesce(i.same, false) as same
    from given g left join lateral (
      select true as there,
             i.content_hash = g.content_hash
             or i.content_hash is null
                and (i.name, i.text, i.data, i.source) is not distinct from (g.name, g.text, g.data, g.source) as same
      from app.items i where i.org_id = $1 and i.canonical_id = g.canonical_id offset 0
    ) i on true
  ), written as (
    insert into app.items (org_id, canonical_id, name, text, data, source, created_at, updated_at, content_hash)
    select $1, canonical_id, name, text, data, source, coalesce(created_at, updated_at, now()),
           coalesce(updated_at, now()), content_hash
    from compared where not there or ($10 and not same)
    order by canonical_id
    on conflict (org_id, canonical_id) do update
      set name = excluded.name, text = excluded.text, data = excluded.data, source = excluded.source,
          updated_at = excluded.updated_at, content_hash = excluded.content_hash
      where $10 and items.content_hash is distinct from excluded.content_hash
    returning item_id, xmax = 0 as created
  ), emitted as (
    insert into outbox.event (topic, key, payload, headers)
    select 'item.upserted', 'item:' || item_id, jsonb_build_object('item_id', item_id, 'org_id', $1::text), $12::jsonb
    from written where $11
  )
  select (select count(*) from compared where same)::int as same,
         count(*) filter (where created)::int as created,
         count(*) filter (where not created)::int as updated
  from written`;

/**
 * What WRITE_ITEMS would say. Parameters as there, without $7, $8, $11 and $12: $7 hashes, $8 update what is there; $9 the
 * import. What would be written is remembered for the import's later rows: an id that comes again is compared with that.
 * Each id is looked up by the keys of both tables.
 */
export const COMPARE_ITEMS = `
  with given as (
    select * from unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::bytea[])
      as g(canonical_id, name, text, data, source, content_hash)
  ), compared as materialized (
    select g.canonical_id, g.content_hash, coalesce(t.there, i.there, false) as there,
           coalesce(t.same, i.same, false) as same
    from given g left join lateral (
      select true as there, t.content_hash = g.content_hash as same
      from app.import_trial_items t where t.job_id = $9 and t.canonical_id = g.canonical_id offset 0
    ) t on true left join lateral (
      select true as there,
             i.content_hash = g.content_hash
             or i.content_hash is null
                and (i.name, i.text, i.data, i.source) is not distinct from (g.name, g.text, g.data, g.source) as same
      from app.items i where i.org_id = $1 and i.canonical_id = g.canonical_id offset 0
    ) i on true
  ), remembered as (
    insert into app.import_trial_items (job_id, canonical_id, content_hash)
    select $9, canonical_id, content_hash from compared where not there or (not same and $8)
    on conflict (job_id, canonical_id) do update set content_hash = excluded.content_hash
  )
  select count(*) filter (where same)::int as same,
         count(*) filter (where not there)::int as created,
         count(*) filter (where there and not same and $8)::int as updated
  from compared`;

/**
 * In a transaction of the caller's. The outcome is that of the rows one by one in their order, however they are put
 * together: an id that comes again begins a statement of its own, which sees the first.
 */
export async function writeItems(
  db: Queryable,
  items: readonly ItemToWrite[],
  options: WriteOptions,
): Promise<Written> {
  const total = {
    created: 0,
    updated: 0,
    unchanged: 0,
    skipped: 0,
    refused: [] as Written['refused'][number][],
  };
  for (const part of withoutRepeats(items)) {
    const { created, updated, unchanged, skipped, refused } = await writeOrHalve(db, part, options);
    total.created += created;
    total.updated += updated;
    total.unchanged += unchanged;
    total.skipped += skipped;
    total.refused.push(...refused);
  }
  return total;
}

function withoutRepeats(items: readonly ItemToWrite[]): readonly (readonly ItemToWrite[])[] {
  const parts: ItemToWrite[][] = [];
  let ids = new Set<string>();
  for (const one of items) {
    const { canonicalId } = one.item;
    if (parts.length === 0 || ids.has(canonicalId)) {
      parts.push([]);
      ids = new Set();
    }
    ids.add(canonicalId);
    parts.at(-1)?.push(one);
  }
  return parts;
}

/** A row that the database refuses must not cost the others: it is found by halves, each behind a savepoint. */
async function writeOrHalve(
  db: Queryable,
  items: readonly ItemToWrite[],
  options: WriteOptions,
): Promise<Written> {
  if (!options.careful) return await writeStatement(db, items, options);
  await db.query('savepoint items');
  try {
    const written = await writeStatement(db, items, options);
    await db.query('release savepoint items');
    return written;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    await db.query('rollback to savepoint items');
    const [first] = items;
    if (first !== undefined && items.length === 1) {
      const fault = `refused by the database: ${error.message.slice(0, 300)}`;
      const { number, line } = first;
      return { created: 0, updated: 0, unchanged: 0, skipped: 0, refused: [{ number, line, fault }] };
    }
    const middle = Math.ceil(items.length / 2);
    const left = await writeOrHalve(db, items.slice(0, middle), options);
    const right = await writeOrHalve(db, items.slice(middle), options);
    return {
      created: left.created + right.created,
      updated: left.updated + right.updated,
      unchanged: left.unchanged + right.unchanged,
      skipped: left.skipped + right.skipped,
      refused: [...left.refused, ...right.refused],
    };
  }
}

/** Of what is in the rows: data, limits, constraints, errors that triggers raise. */
export function isRefusal(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && /^(?:22|23|54|P0)/.test(error.code ?? '');
}

async function writeStatement(
  db: Queryable,
  items: readonly ItemToWrite[],
  { jobId, orgId, updateExisting, emitEvents, dryRun }: WriteOptions,
): Promise<Written> {
  const column = <T>(of: (item: ItemRow) => T): T[] => items.map(({ item }) => of(item));
  const content = [
    orgId,
    column(({ canonicalId }) => canonicalId),
    column(({ name }) => name),
    column(({ text }) => text),
    column(({ data }) => data),
    column(({ source }) => source),
  ];
  const hashes = column(({ contentHash }) => contentHash);
  const { rows } = await db.query<{ same: number; created: number; updated: number }>(
    dryRun
      ? { text: COMPARE_ITEMS, values: [...content, hashes, updateExisting, jobId] }
      : {
          text: WRITE_ITEMS,
          values: [
            ...content,
            column(({ createdAt }) => createdAt),
            column(({ updatedAt }) => updatedAt),
            hashes,
            updateExisting,
            emitEvents,
            traceHeaders() ?? {},
          ],
        },
  );
  const { same = 0, created = 0, updated = 0 } = rows[0] ?? {};
  // What somebody else has written in between, and to the same content, is unchanged; where nothing may be updated, what
  // is there and differs is passed over.
  const left = items.length - created - updated;
  return updateExisting
    ? { created, updated, unchanged: left, skipped: 0, refused: [] }
    : { created, updated, unchanged: same, skipped: left - same, refused: [] };
}
