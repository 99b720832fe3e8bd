// Which search engine, and what is searched, as environment variables.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';
import { createSearch, loadProjections, shippedProjections } from '@pulsebox/search';
import type { Search, SearchOptions } from '@pulsebox/search';

export const searchVariables: {
  readonly MEILI_URL: Variable<string | undefined>;
  readonly MEILI_API_KEY: Variable<string | undefined>;
  readonly MEILI_INDEX_ITEMS: Variable<string>;
  readonly MEILI_INDEX_FILES: Variable<string>;
  readonly MEILI_INDEX_MAIL: Variable<string>;
  readonly MEILI_BATCH_SIZE: Variable<number>;
  readonly MEILI_TIMEOUT_SECONDS: Variable<number>;
  readonly PULSEBOX_PROJECTIONS: Variable<string | undefined>;
} = {
  MEILI_URL: env.optional(
    env.url({
      description: 'Meilisearch, for instance http://meilisearch:7700. Unset: PostgreSQL full-text search.',
      protocols: ['http:', 'https:'],
    }),
  ),
  MEILI_API_KEY: env.optional(
    env.secret({ description: 'A key that may change indexes, documents, settings and tasks.' }),
  ),
  MEILI_INDEX_ITEMS: env.string({ description: 'The index of items, in either engine.', default: 'items' }),
  MEILI_INDEX_FILES: env.string({ description: 'The index of files, in either engine.', default: 'files' }),
  MEILI_INDEX_MAIL: env.string({ description: 'The index of mail, in either engine.', default: 'mail' }),
  MEILI_BATCH_SIZE: env.integer({
    description: 'The most documents in one request to Meilisearch.',
    default: 500,
    min: 1,
    max: 100_000,
  }),
  MEILI_TIMEOUT_SECONDS: env.seconds({
    description: 'The longest one request to Meilisearch may take.',
    default: 5,
  }),
  PULSEBOX_PROJECTIONS: env.optional(
    env.string({
      description: 'A JSON file that declares tables of your own as searchable (docs/projections.md).',
    }),
  ),
};

export type SearchConfig = Environment<typeof searchVariables>;

/** Search as configured. @throws SEARCH_PROJECTION_INVALID when the projection file is faulty */
export async function openSearch(
  config: SearchConfig,
  resources: Pick<SearchOptions, 'pool' | 'registry'>,
): Promise<Search> {
  const shipped = shippedProjections({
    itemsIndex: config.MEILI_INDEX_ITEMS,
    filesIndex: config.MEILI_INDEX_FILES,
    mailIndex: config.MEILI_INDEX_MAIL,
  });
  const own =
    config.PULSEBOX_PROJECTIONS === undefined
      ? []
      : await loadProjections(config.PULSEBOX_PROJECTIONS, shipped);
  return createSearch({
    ...resources,
    projections: [...shipped, ...own],
    meilisearch:
      config.MEILI_URL === undefined
        ? undefined
        : {
            url: config.MEILI_URL,
            apiKey: config.MEILI_API_KEY,
            timeoutMs: config.MEILI_TIMEOUT_SECONDS * 1_000,
            batchSize: config.MEILI_BATCH_SIZE,
          },
  });
}
