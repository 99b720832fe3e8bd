// PostgreSQL full-text search as a sink: one table of documents, in generations, next to the application's own rows.

import { SinkError } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import { createShadow, dropRetired, fencedError, makeLive, prepareLive } from './generations.ts';
import { describeFullText, searchFullText } from './postgres-search.ts';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { Rebuild, SearchEngine, SyncResult, WriteContext } from './search-engine.ts';
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
    await prepareLive(pool, projection, context);
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

  return {
    name: 'postgres',
    prepare,
    sync: syncLive,
    search: (projection, query, signal) => searchFullText(pool, projection, query, signal),
    describe: (projections) => describeFullText(pool, projections),
    async beginRebuild(projection, context): Promise<Rebuild> {
      const { index } = projection;
      await dropRetired(pool, index, context);
      const generation = await createShadow(pool, projection, context);
      return {
        sync: async (ids, syncContext) =>
          (await sync(projection, ids, syncContext, generation)) ?? missingIndex(index),
        swap: (swapContext) => makeLive(pool, { index, generation }, swapContext),
        drop: (dropContext) => dropRetired(pool, index, dropContext),
      };
    },
  };
}

function missingIndex(index: string): never {
  throw new SinkError('away', 'SEARCH_SINK_AWAY', `the index ${index} was removed while it was written to`, {
    hint: 'somebody deletes rows of search.generation, or two rebuilds ran; run `pulsebox reindex`',
  });
}
