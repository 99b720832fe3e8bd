// Generations of an index in full-text search: the live one, and the one that a rebuild fills beside it.

import type { Queryable } from '@pulsebox/postgres';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { STATEMENT_MS, tookTooLong } from './bounded-statements.ts';
import { createPace } from './pace.ts';
import type { Projection } from './projection.ts';
import type { Fence, WriteContext } from './search-engine.ts';
import { SearchError } from './search-error.ts';

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

/** The most documents in one statement. */
const PAGE = 1_000;

/** Makes the live generation if there is none; makes its vectors anew if they were made of other attributes. */
export async function prepareLive(
  db: Queryable,
  projection: Projection,
  context: WriteContext,
): Promise<void> {
  const { index, settings } = projection;
  context.signal.throwIfAborted();
  await db.query(CREATE_LIVE, [index, settings.searchable]);
  const { rows } = await db.query<{ generation: number; outdated: boolean }>(SELECT_LIVE, [
    index,
    settings.searchable,
  ]);
  const live = rows[0];
  if (live?.outdated === true) await remakeVectors(db, projection, live.generation, context);
}

/** Returns the number of a new generation that nobody searches. */
export async function createShadow(
  db: Queryable,
  { index, settings }: Projection,
  { signal }: WriteContext,
): Promise<number> {
  signal.throwIfAborted();
  const { rows } = await db.query<{ generation: number }>(CREATE_SHADOW, [index, settings.searchable]);
  const created = rows[0];
  if (created === undefined) throw new Error('the new generation has no number');
  return created.generation;
}

/** Puts a generation in the place of the live one, in one transaction. @throws SEARCH_FENCED */
export async function makeLive(
  pool: Pool,
  shadow: { readonly index: string; readonly generation: number },
  { fence, signal }: WriteContext,
): Promise<void> {
  signal.throwIfAborted();
  await boundedTransaction(pool, { statementMs: STATEMENT_MS, signal }, async (db) => {
    const { rowCount } = await db.query(HOLD_LEASE, [fence.name, fence.token]);
    if (rowCount !== 1) throw fencedError(fence);
    await db.query(RETIRE_LIVE, [shadow.index]);
    await db.query(MAKE_LIVE, [shadow.generation]);
  });
}

async function remakeVectors(
  db: Queryable,
  { settings }: Projection,
  generation: number,
  { fence, signal, progress }: WriteContext,
): Promise<void> {
  let after = '';
  await pageByPage({ signal, progress }, async (size) => {
    const { rows } = await db.query<{ last: string }>(REMAKE_VECTORS, [
      generation,
      settings.searchable,
      after,
      size,
      fence.name,
      fence.token,
    ]);
    after = rows[0]?.last ?? after;
    return rows.length > 0;
  });
  const { rowCount } = await db.query(STORE_SEARCHABLE, [
    generation,
    settings.searchable,
    fence.name,
    fence.token,
  ]);
  if (rowCount !== 1) throw fencedError(fence);
}

/** Removes all generations of the index but the live one, page by page. */
export async function dropRetired(
  db: Queryable,
  index: string,
  { signal, progress }: Omit<WriteContext, 'fence'>,
): Promise<void> {
  const { rows } = await db.query<{ generation: number }>(SELECT_RETIRED, [index]);
  for (const { generation } of rows) {
    await pageByPage({ signal, progress }, async (size) => {
      const { rowCount } = await db.query(DELETE_DOCUMENTS, [generation, size]);
      return rowCount !== 0;
    });
    await db.query(DELETE_GENERATION, [generation]);
  }
}

/** Turns pages until there are none, smaller ones when a page takes too long. */
async function pageByPage(
  { signal, progress }: Pick<WriteContext, 'signal' | 'progress'>,
  turnPage: (size: number) => Promise<boolean>,
): Promise<void> {
  const pace = createPace(PAGE);
  for (let more = true; more; ) {
    signal.throwIfAborted();
    const { size } = pace;
    const startedAtMs = performance.now();
    try {
      more = await turnPage(size);
      pace.took(performance.now() - startedAtMs, size);
    } catch (error) {
      if (!tookTooLong(error) || size === 1) throw error;
      pace.failed(size);
    }
    progress();
  }
}

export function fencedError(fence: Fence): SearchError {
  return new SearchError('SEARCH_FENCED', `the lease ${fence.name} was taken over: nothing was written`, {
    hint: 'whoever holds it now writes the same; frequent losses mean that leases are too short for this machine',
  });
}
