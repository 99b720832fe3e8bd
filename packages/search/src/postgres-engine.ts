// PostgreSQL full-text search as a sink: one table of documents, in generations, next to the application's own rows.

import type { Queryable } from '@pulsebox/postgres';
import { transaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { describeFullText, searchFullText } from './postgres-search.ts';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { Fence, Rebuild, SearchEngine, SyncResult, WriteContext } from './search-engine.ts';
import { SearchError } from './search-error.ts';
import { SinkError } from './sink-error.ts';
import { selectRows } from './view.ts';

/**
 * Reads the rows and writes their documents in one statement, so nothing can change in between.
 *
 * Result: one row with what was done; `fenced` when the token is no longer the current one, and `lost` when there is
 * no such generation: then nothing was written.
 * $1 ids, $2 lease, $3 token, $4 index, $5 generation, or null for the live one.
 * Indexes: the view's, lease_pkey, document_pkey.
 *
 * The share lock on the lease makes this exact. A take-over waits for a statement that holds it, and a statement that
 * comes after it sees the new token and writes nothing. Without it, a worker that was frozen between two steps could
 * put a document back that its successor had deleted.
 */
export function syncDocuments(projection: VerifiedProjection): string {
  return `
  with lease as materialized (
    select from pulsebox.lease where name = $2 and token = $3 for share
  ),
  target as materialized (
    select generation, searchable from search.generation
    where case when $5::bigint is null then index_name = $4 and live else generation = $5 end
      and exists (select from lease)
  ),
  source as materialized (${selectRows(projection)}
  ),
  written as (
    insert into search.document as d (generation, id, organisation, document, vector)
    select target.generation, source.id, source.organisation, source.document,
           search.to_vector(source.document, target.searchable)
    from target cross join source
    on conflict (generation, id) do update
      set organisation = excluded.organisation, document = excluded.document, vector = excluded.vector
      where (d.organisation, d.document, d.vector)
            is distinct from (excluded.organisation, excluded.document, excluded.vector)
  ),
  removed as (
    delete from search.document d using target
    where d.generation = target.generation and d.id = any($1::text[])
      and not exists (select from source where source.id = d.id)
    returning d.id
  )
  select not exists (select from lease) as fenced,
         not exists (select from target) as lost,
         (select count(*) from source)::int as upserted,
         (select count(*) from removed)::int as deleted`;
}

/** $1 index, $2 searchable attributes. Index: generation_live. Writes nothing when there is a live generation. */
const CREATE_LIVE = `
  insert into search.generation (index_name, live, searchable) values ($1, true, $2)
  on conflict (index_name) where live do nothing`;

/** Result: the live generation, and whether its vectors were made of other attributes than $2. Index: generation_live. */
const SELECT_LIVE = `
  select generation::float8 as generation, searchable is distinct from $2::text[] as outdated
  from search.generation where index_name = $1 and live`;

/** Result: its number. $1 index, $2 searchable attributes. */
const CREATE_SHADOW = `
  insert into search.generation (index_name, live, searchable) values ($1, false, $2)
  returning generation::float8 as generation`;

/**
 * Makes the vectors of a page of documents anew. Result: the last id of the page; 0 rows: there are none left.
 * $1 generation, $2 searchable, $3 the id that the page comes after, $4 page size, $5 lease, $6 token.
 * Index: document_pkey.
 */
const REMAKE_VECTORS = `
  with lease as materialized (select from pulsebox.lease where name = $5 and token = $6 for share),
  page as materialized (
    select id from search.document where generation = $1 and id > $3 order by id limit $4
  ),
  remade as (
    update search.document d set vector = search.to_vector(d.document, $2::text[])
    from page where d.generation = $1 and d.id = page.id and exists (select from lease)
  )
  select max(id) as last from page having max(id) is not null`;

/** $1 generation, $2 searchable, $3 lease, $4 token. 0 rows: fenced. Index: generation_pkey. */
const STORE_SEARCHABLE = `
  with lease as materialized (select from pulsebox.lease where name = $3 and token = $4 for share)
  update search.generation set searchable = $2 where generation = $1 and exists (select from lease)`;

/** Result: one row when the token is current; held until the transaction ends. $1 lease, $2 token. Index: lease_pkey. */
const HOLD_LEASE = `select from pulsebox.lease where name = $1 and token = $2 for share`;

/** $1 index. Index: generation_live. */
const RETIRE_LIVE = `update search.generation set live = false where index_name = $1 and live`;

/** $1 generation. Index: generation_pkey. */
const MAKE_LIVE = `update search.generation set live = true where generation = $1`;

/** Result: generations of the index that are not live. $1 index. */
const SELECT_RETIRED = `
  select generation::float8 as generation from search.generation where index_name = $1 and not live`;

/** Deletes a page. $1 generation, $2 page size. Index: document_pkey. 0 rows: it is empty. */
const DELETE_DOCUMENTS = `
  delete from search.document where generation = $1 and id in (
    select id from search.document where generation = $1 order by id limit $2
  )`;

/** $1 generation. Index: generation_pkey. A live one stays. */
const DELETE_GENERATION = `delete from search.generation where generation = $1 and not live`;

/** Large enough to be quick, small enough that a page takes no longer than a batch. */
const PAGE = 1_000;

export interface PostgresEngineOptions {
  readonly pool: Pool;
}

/**
 * Full-text search in the database itself: nothing else to run. No typing errors are forgiven; words are matched as
 * they are written but for case and accents, the last one also as a beginning.
 */
export function postgresEngine({ pool }: PostgresEngineOptions): SearchEngine {
  const prepared = new Set<string>();

  async function prepare(projection: Projection, context: WriteContext): Promise<void> {
    if (prepared.has(projection.name)) return;
    const { searchable } = projection.settings;
    context.signal.throwIfAborted();
    await pool.query(CREATE_LIVE, [projection.index, searchable]);
    const { rows } = await pool.query<{ generation: number; outdated: boolean }>(SELECT_LIVE, [
      projection.index,
      searchable,
    ]);
    const live = rows[0];
    if (live?.outdated === true) await remakeVectors(pool, projection, live.generation, context);
    prepared.add(projection.name);
  }

  async function sync(
    projection: VerifiedProjection,
    ids: readonly string[],
    context: WriteContext,
    generation: number | null,
  ): Promise<SyncResult | undefined> {
    context.signal.throwIfAborted();
    const { fence } = context;
    const { rows } = await pool.query<SyncResult & { fenced: boolean; lost: boolean }>(
      syncDocuments(projection),
      [ids, fence.name, fence.token, projection.index, generation],
    );
    const done = rows[0];
    if (done === undefined || done.fenced) throw fencedError(fence);
    return done.lost ? undefined : { upserted: done.upserted, deleted: done.deleted };
  }

  async function syncLive(
    projection: VerifiedProjection,
    ids: readonly string[],
    context: WriteContext,
  ): Promise<SyncResult> {
    await prepare(projection, context);
    const done = await sync(projection, ids, context, null);
    if (done !== undefined) return done;
    // Somebody removed the index by hand: made again, it fills with what changes from now on.
    prepared.delete(projection.name);
    await prepare(projection, context);
    return (await sync(projection, ids, context, null)) ?? missingIndex(projection.index);
  }

  async function swap(index: string, generation: number, { fence, signal }: WriteContext): Promise<void> {
    signal.throwIfAborted();
    await transaction(pool, async (client) => {
      const { rowCount } = await client.query(HOLD_LEASE, [fence.name, fence.token]);
      if (rowCount !== 1) throw fencedError(fence);
      await client.query(RETIRE_LIVE, [index]);
      await client.query(MAKE_LIVE, [generation]);
    });
  }

  return {
    name: 'postgres',
    prepare,
    sync: syncLive,
    search: (projection, query, signal) => searchFullText(pool, projection, query, signal),
    describe: (projections) => describeFullText(pool, projections),
    async beginRebuild(projection, context): Promise<Rebuild> {
      const { index, settings } = projection;
      await dropRetired(pool, index, context);
      context.signal.throwIfAborted();
      const { rows } = await pool.query<{ generation: number }>(CREATE_SHADOW, [index, settings.searchable]);
      const generation = rows[0]?.generation ?? 0;
      return {
        sync: async (ids, syncContext) =>
          (await sync(projection, ids, syncContext, generation)) ?? missingIndex(index),
        swap: (swapContext) => swap(index, generation, swapContext),
        drop: (dropContext) => dropRetired(pool, index, dropContext),
      };
    },
  };
}

async function remakeVectors(
  db: Queryable,
  { settings }: Projection,
  generation: number,
  { fence, signal, progress }: WriteContext,
): Promise<void> {
  let after: string | undefined = '';
  while (after !== undefined) {
    signal.throwIfAborted();
    const { rows }: { rows: { last: string }[] } = await db.query<{ last: string }>(REMAKE_VECTORS, [
      generation,
      settings.searchable,
      after,
      PAGE,
      fence.name,
      fence.token,
    ]);
    after = rows[0]?.last;
    progress();
  }
  const { rowCount } = await db.query(STORE_SEARCHABLE, [
    generation,
    settings.searchable,
    fence.name,
    fence.token,
  ]);
  if (rowCount !== 1) throw fencedError(fence);
}

async function dropRetired(
  db: Queryable,
  index: string,
  { signal, progress }: Omit<WriteContext, 'fence'>,
): Promise<void> {
  const { rows } = await db.query<{ generation: number }>(SELECT_RETIRED, [index]);
  for (const { generation } of rows) {
    let deleted: number | null;
    do {
      signal.throwIfAborted();
      ({ rowCount: deleted } = await db.query(DELETE_DOCUMENTS, [generation, PAGE]));
      progress();
    } while (deleted !== 0);
    await db.query(DELETE_GENERATION, [generation]);
  }
}

function missingIndex(index: string): never {
  throw new SinkError('SEARCH_SINK_AWAY', `the index ${index} was removed while it was written to`, {
    hint: 'somebody deletes rows of search.generation, or two rebuilds ran; run `pulsebox reindex`',
  });
}

function fencedError(fence: Fence): SearchError {
  return new SearchError('SEARCH_FENCED', `the lease ${fence.name} was taken over: nothing was written`, {
    hint: 'whoever holds it now writes the same; frequent losses mean that leases are too short for this machine',
  });
}
