import { SearchError } from '@pulsebox/search';
import { setUpSearch } from '../search-setup.ts';
import type { Check } from './check.ts';
import { fail, ok } from './finding.ts';

export const projections: Check = {
  name: 'projections',
  needs: 'schema',
  async run(patient) {
    try {
      const search = await setUpSearch(patient);
      await search.verify();
      return ok(
        `the views of all projections can be read: ${search.projections.map(({ name }) => name).join(', ')}`,
      );
    } catch (error) {
      if (error instanceof SearchError) return fail(error.message, error.hint);
      throw error;
    }
  },
};
