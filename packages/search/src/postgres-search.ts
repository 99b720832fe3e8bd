// Asks PostgreSQL full-text search.

import type { Queryable } from '@pulsebox/postgres';
import type { Projection } from './projection.ts';
import { checkedPage, queryTerms } from './query-terms.ts';
import type {
  EngineDescription,
  IndexDescription,
  SearchHit,
  SearchQuery,
  SearchResult,
} from './search-engine.ts';

/**
 * Result: a page of documents, each with the number of all that match.
 * $1 index, $2 terms, $3 which are excluded, $4 whether the last is a prefix, $5 organisation or null,
 * $6 filter as jsonb, $7 path to sort by or null, $8 whether descending, $9 limit, $10 offset, $11 path of the first
 * searchable attribute, $12 the terms that are not excluded, as text.
 * Indexes: document_vector, with document_organisation where that narrows it. 0 rows: nothing matches, or the page is
 * beyond the end.
 *
 * The query is built by an immutable function of parameters, so the planner has it as a constant and knows how rare
 * its words are. Whole words weigh as much again as beginnings do: "par" finds "Paris", and "Par" first. The
 * logarithm of a document's length divides its rank, lest long texts win by having everything in them.
 *
 * Before all that comes the document whose first attribute (its name) is what was asked for, then those whose begins
 * with it: "new york" finds "New York" and "New York City" before "East New York". A name that begins with an unfinished
 * word counts double.
 */
export const SEARCH_DOCUMENTS = `
  with asked as (
    select search.to_query($2::text[], $3::boolean[], $4) as query,
           search.to_query($2::text[], $3::boolean[], false) as whole_words,
           nullif(btrim(search.fold($12::text)), '') as words
  )
  select d.id, d.organisation, d.document, count(*) over ()::float8 as total
  from search.document d cross join asked
  cross join lateral (select btrim(search.fold(left(d.document #>> $11::text[], 300))) as name) of_it
  where d.generation = (select generation from search.generation where index_name = $1 and live)
    and (numnode(search.to_query($2::text[], $3::boolean[], $4)) = 0
         or d.vector @@ search.to_query($2::text[], $3::boolean[], $4))
    and ($5::text is null or left(d.organisation, 200) = left($5, 200) and d.organisation = $5)
    and ($6::jsonb is null or search.matches(d.document, $6))
  order by
    case when not $8::boolean then nullif(d.document #> $7::text[], 'null') end asc nulls last,
    case when $8::boolean then nullif(d.document #> $7::text[], 'null') end desc nulls last,
    case when of_it.name = asked.words then 2
         when starts_with(of_it.name || ' ', asked.words || ' ') then 1 else 0 end desc,
    (ts_rank(d.vector, asked.query, 1) + ts_rank(d.vector, asked.whole_words, 1))
      * case when starts_with(of_it.name, asked.words) then 2 else 1 end desc,
    d.id
  limit $9 offset $10`;

/** Result: one row per index that is there. $1 indexes. Indexes: generation_live, and document_pkey to count. */
const DESCRIBE = `
  select g.index_name as index, g.searchable,
         (select count(*) from search.document d where d.generation = g.generation)::float8 as documents
  from search.generation g where g.live and g.index_name = any($1::text[])`;

const VERSION = `select current_setting('server_version') as version`;

export async function searchFullText(
  db: Queryable,
  projection: Projection,
  query: SearchQuery,
  signal: AbortSignal | undefined,
): Promise<SearchResult> {
  const { limit, offset } = checkedPage(projection, query);
  const { terms, excluded, lastIsPrefix } = queryTerms(query.query);
  signal?.throwIfAborted();
  const { rows } = await db.query<SearchHit & { total: number }>(SEARCH_DOCUMENTS, [
    projection.index,
    terms,
    excluded,
    lastIsPrefix,
    query.organisation ?? null,
    query.filter === undefined ? null : JSON.stringify(query.filter),
    query.sort?.attribute.split('.') ?? null,
    query.sort?.direction === 'desc',
    limit,
    offset,
    projection.settings.searchable[0]?.split('.') ?? [],
    terms.filter((_, n) => excluded[n] !== true).join(' '),
  ]);
  // The number of matches comes with the rows; a page beyond the end has none to tell it.
  if (rows.length === 0 && offset > 0) {
    const { total } = await searchFullText(db, projection, { ...query, limit: 1, offset: 0 }, signal);
    return { hits: [], total };
  }
  return {
    hits: rows.map(({ id, organisation, document }) => ({ id, organisation, document })),
    total: rows[0]?.total ?? 0,
  };
}

export async function describeFullText(
  db: Queryable,
  projections: readonly Projection[],
): Promise<EngineDescription> {
  const { rows: server } = await db.query<{ version: string }>(VERSION);
  const { rows } = await db.query<{ index: string; searchable: string[]; documents: number }>(DESCRIBE, [
    projections.map((projection) => projection.index),
  ]);
  const indexes = projections.map(({ name, index, settings }): IndexDescription => {
    const found = rows.find((row) => row.index === index);
    if (found === undefined) return { projection: name, index, state: 'missing', documents: 0 };
    const same = JSON.stringify(found.searchable) === JSON.stringify(settings.searchable);
    return { projection: name, index, state: same ? 'ready' : 'settings differ', documents: found.documents };
  });
  return { engine: 'postgres', version: server[0]?.version ?? 'unknown', indexes };
}
