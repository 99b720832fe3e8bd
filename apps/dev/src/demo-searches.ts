// Searches after the demo's load: what was committed is found, what was rolled back is not.

import { createSearch, shippedProjections } from '@pulsebox/search';
import type { Pool } from 'pg';
import type { City } from './cities.ts';
import { exampleSearches } from './example-searches.ts';
import { NEVER_COMMITTED } from './write-cities.ts';

/** Searches as `pulsebox search` does. @returns 1 when something rolled back was found, else 0 */
export async function showSearches(
  pool: Pool,
  cities: readonly City[],
  print: (line: string) => void,
): Promise<number> {
  const meiliUrl = process.env['MEILI_URL'];
  const search = createSearch({
    pool,
    projections: shippedProjections({
      itemsIndex: process.env['MEILI_INDEX_ITEMS'],
      filesIndex: process.env['MEILI_INDEX_FILES'],
    }),
    meilisearch:
      meiliUrl === undefined || meiliUrl === ''
        ? undefined
        : { url: meiliUrl, apiKey: process.env['MEILI_API_KEY'] },
  });
  print(`\nsearching (${search.engine.name}):`);
  const examples = exampleSearches(cities);
  for (const { say, ...query } of examples) {
    const startedAtMs = performance.now();
    const { hits, total } = await search.search('items', { ...query, limit: 5 });
    const ms = (performance.now() - startedAtMs).toFixed(1);
    const names = hits.map(({ document: { name }, organisation }) =>
      typeof name === 'string' ? `${name} (${organisation ?? '?'})` : '?',
    );
    print(`  ${say}: "${query.query}" → ${total.toLocaleString('en')} in ${ms} ms: ${names.join(', ')}`);
  }

  const { total } = await search.search('items', { query: `"${NEVER_COMMITTED}"` });
  print(
    `  what was rolled back: "${NEVER_COMMITTED}" → ${total} ${total === 0 ? '(as it should be)' : '(a fault!)'}`,
  );
  print(`\ntry your own: npx pulsebox search ${examples[0]?.query ?? 'kyoto'}`);
  return total === 0 ? 0 : 1;
}
