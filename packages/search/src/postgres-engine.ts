// PostgreSQL full-text search as a sink: one table of documents, in generations, next to the application's own rows.

import { SinkError } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { boundedStatements, STATEMENT_MS } from './bounded-statements.ts';
import { createShadow, dropRetired, fencedError, makeLive, prepareLive } from './generations.ts';
import { describeFullText, searchFullText } from './postgres-search.ts';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { Rebuild, SearchEngine, SyncResult, WriteContext } from './search-engine.ts';
import { inParts } from './in-parts.ts';
import { createPace } from './pace.ts';
import { selectSizedRows } from './view.ts';

/**
 * Reads the rows and writes their documents in one statement, so nothing can change in between.
 *
 * Result: one row with what was done; `fenced` when the token is no longer the current one, and `lost` when there is
 * no such generation: then nothing was written. `leftOver` are ids whose documents would have been more than $6 bytes.
 * $1 ids, $2 lease, $3 token, $4 index, $5 generation, or null for the live one, $6 bytes.
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
  source as materialized (${selectSizedRows(projection)}
  ),
  written as (
    insert into search.document as d (generation, id, organisation, document, vector)
    select target.generation, source.id, source.organisation, source.document,
           search.to_vector(source.document, target.searchable)
    from target cross join source
    where source.before < $6
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
         (select count(*) from source where before < $6)::int as upserted,
         array(select id from source where before >= $6) as "leftOver",
         (select count(*) from removed)::int as deleted`;
}

export interface PostgresEngineOptions {
  readonly pool: Pool;
  /** The longest that the server may work on one statement, in milliseconds. Default 5,000. */
  readonly statementMs?: number;
}

/** Documents that one statement writes, in number and in bytes. */
const MOST_ROWS = 500;
const MOST_BYTES = 16 * 2 ** 20;

interface PartWritten extends Omit<SyncResult, 'tooSlow'> {
  readonly fenced: boolean;
  readonly lost: boolean;
  readonly leftOver: readonly string[];
}

/**
 * Full-text search in the database itself: nothing else to run. No typing errors are forgiven; words are matched as
 * they are written but for case and accents, the last one also as a beginning.
 *
 * A batch is written in parts, each a transaction that the server ends when it takes too long; then the parts become
 * smaller. So a database that is frozen, or a batch that is large, ends in an error or in progress, and never in silence.
 */
export function postgresEngine({ pool, statementMs = STATEMENT_MS }: PostgresEngineOptions): SearchEngine {
  const prepared = new Set<string>();
  const pace = createPace(MOST_ROWS);
  const bounded = (context: Parameters<typeof boundedStatements>[1]): Queryable =>
    boundedStatements(pool, context, statementMs);

  async function prepare(projection: Projection, context: WriteContext): Promise<void> {
    if (prepared.has(projection.name)) return;
    await prepareLive(bounded(context), projection, context);
    prepared.add(projection.name);
  }

  async function sync(
    projection: VerifiedProjection,
    ids: readonly string[],
    context: WriteContext,
    generation: number | null,
  ): Promise<SyncResult> {
    const { fence } = context;
    const db = bounded(context);
    const counts = { upserted: 0, deleted: 0 };
    const tooSlow = await inParts(ids, pace, context, async (part) => {
      const startedAtMs = performance.now();
      const { rows } = await db.query<PartWritten>(syncDocuments(projection), [
        part,
        fence.name,
        fence.token,
        projection.index,
        generation,
        MOST_BYTES,
      ]);
      const done = rows[0];
      if (done === undefined || done.fenced) throw fencedError(fence);
      if (done.lost) throw new IndexLost(projection.index);
      counts.upserted += done.upserted;
      counts.deleted += done.deleted;
      return { left: done.leftOver, databaseMs: performance.now() - startedAtMs };
    });
    return { ...counts, tooSlow };
  }

  async function syncLive(
    projection: VerifiedProjection,
    ids: readonly string[],
    context: WriteContext,
  ): Promise<SyncResult> {
    await prepare(projection, context);
    try {
      return await sync(projection, ids, context, null);
    } catch (error) {
      if (!(error instanceof IndexLost)) throw error;
    }
    // Somebody removed the index by hand: made again, it fills with what changes from now on.
    prepared.delete(projection.name);
    await prepare(projection, context);
    return await sync(projection, ids, context, null);
  }

  return {
    name: 'postgres',
    prepare,
    sync: syncLive,
    search: (projection, query, signal) => searchFullText(pool, projection, query, signal),
    describe: (projections) => describeFullText(pool, projections),
    async beginRebuild(projection, context): Promise<Rebuild> {
      const { index } = projection;
      await dropRetired(bounded(context), index, context);
      const generation = await createShadow(bounded(context), projection, context);
      return {
        sync: (ids, syncContext) => sync(projection, ids, syncContext, generation),
        swap: (swapContext) => makeLive(pool, { index, generation }, swapContext),
        drop: (dropContext) => dropRetired(bounded(dropContext), index, dropContext),
      };
    },
  };
}

class IndexLost extends SinkError {
  constructor(index: string) {
    super('away', 'SEARCH_SINK_AWAY', `the index ${index} was removed while it was written to`, {
      hint: 'somebody deletes rows of search.generation, or two rebuilds ran; run `pulsebox reindex`',
    });
  }
}
