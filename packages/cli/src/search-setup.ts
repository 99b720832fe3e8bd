// Search as the environment configures it, or as a running `npm start` does.

import { parseEnvironment } from '@pulsebox/loop';
import type { Search } from '@pulsebox/search';
import { openSearch, searchVariables } from '@pulsebox/worker-base';
import type { Pool } from 'pg';
import { isSet } from './database.ts';
import type { Database } from './database.ts';

export interface SearchSetup {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly database: Database;
  readonly pool: Pool;
}

/** @throws LOOP_ENV_INVALID, SEARCH_PROJECTION_INVALID */
export async function setUpSearch({ env, database, pool }: SearchSetup): Promise<Search> {
  const MEILI_URL = isSet(env['MEILI_URL']) ? env['MEILI_URL'] : database.run?.meiliUrl;
  return await openSearch(parseEnvironment(searchVariables, { ...env, MEILI_URL }), { pool });
}

/** For people. */
export function engineName(search: Search): string {
  return search.engine.name === 'meilisearch' ? 'Meilisearch' : 'PostgreSQL full-text search';
}
