// Asks Meilisearch.

import type { JsonValue } from '@pulsebox/outbox';
import { decodeId } from './document-id.ts';
import { hasSinkCode } from './meilisearch-server.ts';
import type { MeilisearchServer } from './meilisearch-server.ts';
import { ORGANISATION_KEY, organisationKey, sameSettings, settingsOf } from './meilisearch-settings.ts';
import type { Projection } from './projection.ts';
import { checkedPage, queryText } from './query-terms.ts';
import type {
  EngineDescription,
  IndexDescription,
  SearchHit,
  SearchQuery,
  SearchResult,
} from './search-engine.ts';

type MeilisearchDocument = Readonly<Record<string, JsonValue>> & {
  readonly id: string;
  readonly organisation: string | null;
};

export async function searchMeilisearch(
  server: MeilisearchServer,
  projection: Projection,
  query: SearchQuery,
  signal: AbortSignal | undefined,
): Promise<SearchResult> {
  const { limit, offset } = checkedPage(projection, query);
  try {
    const { hits, estimatedTotalHits } = await server.request(
      `searching ${projection.index}`,
      signal,
      (client) =>
        client.index<MeilisearchDocument>(projection.index).search(queryText(query.query), {
          limit,
          offset,
          filter: filters(query),
          ...(query.sort === undefined ? {} : { sort: [`${query.sort.attribute}:${query.sort.direction}`] }),
          // Every word counts, as in full-text search. By default words are dropped from the end until something matches.
          matchingStrategy: 'all',
        }),
    );
    return {
      hits: hits.map(hitOf),
      total: estimatedTotalHits ?? hits.length,
    };
  } catch (error) {
    // Nothing was indexed yet.
    if (hasSinkCode(error, 'index_not_found')) return { hits: [], total: 0 };
    throw error;
  }
}

function hitOf({ id, organisation, ...rest }: MeilisearchDocument): SearchHit {
  const document = Object.entries(rest).filter(([attribute]) => attribute !== ORGANISATION_KEY);
  return { id: decodeId(id), organisation, document: Object.fromEntries(document) };
}

function filters({ organisation, filter = {} }: SearchQuery): string[] {
  const wanted = Object.entries(filter);
  if (organisation !== undefined) wanted.unshift([ORGANISATION_KEY, organisationKey(organisation)]);
  return wanted.map(
    ([attribute, value]) => `${quoted(attribute)} = ${typeof value === 'string' ? quoted(value) : value}`,
  );
}

/** A string of Meilisearch's filter language: quotes and backslashes are escaped, everything else stands for itself. */
function quoted(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

export async function describeMeilisearch(
  server: MeilisearchServer,
  projections: readonly Projection[],
  signal: AbortSignal | undefined,
): Promise<EngineDescription> {
  const { pkgVersion } = await server.request('asking for the version', signal, (client) =>
    client.getVersion(),
  );
  const indexes: IndexDescription[] = [];
  for (const projection of projections) indexes.push(await describeIndex(server, projection, signal));
  return { engine: 'meilisearch', version: pkgVersion, indexes };
}

async function describeIndex(
  server: MeilisearchServer,
  projection: Projection,
  signal: AbortSignal | undefined,
): Promise<IndexDescription> {
  const { name, index } = projection;
  try {
    const present = await server.request(`settings of ${index}`, signal, (client) =>
      client.index(index).getSettings(),
    );
    const { numberOfDocuments } = await server.request(`statistics of ${index}`, signal, (client) =>
      client.index(index).getStats(),
    );
    const state = sameSettings(present, settingsOf(projection)) ? 'ready' : 'settings differ';
    return { projection: name, index, state, documents: numberOfDocuments };
  } catch (error) {
    if (hasSinkCode(error, 'index_not_found'))
      return { projection: name, index, state: 'missing', documents: 0 };
    throw error;
  }
}
