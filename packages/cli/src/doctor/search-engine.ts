import { SinkError } from '@pulsebox/outbox';
import { SearchError } from '@pulsebox/search';
import type { IndexDescription } from '@pulsebox/search';
import { plural } from '../quantities.ts';
import { engineName, setUpSearch } from '../search-setup.ts';
import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

const PATIENCE_MS = 5_000;

export const searchEngine: Check = {
  name: 'search-engine',
  needs: 'schema',
  async run(patient) {
    try {
      const search = await setUpSearch(patient);
      const { version, indexes } = await search.describe(AbortSignal.timeout(PATIENCE_MS));
      const differing = indexes.filter(({ state }) => state === 'settings differ');
      if (differing.length > 0) {
        return differing.map(({ projection, index }) =>
          warn(
            `the index ${index} was made for another declaration of the projection ${projection}`,
            `its next event mends it, or: pulsebox reindex ${projection}`,
          ),
        );
      }
      return ok(`${engineName(search)} ${version}: ${indexes.map(describeIndex).join(', ')}`);
    } catch (error) {
      if (error instanceof SearchError || error instanceof SinkError) return fail(error.message, error.hint);
      throw error;
    }
  },
};

function describeIndex({ index, state, documents }: IndexDescription): string {
  return state === 'missing' ? `${index} not there yet` : `${index} with ${plural(documents, 'document')}`;
}
