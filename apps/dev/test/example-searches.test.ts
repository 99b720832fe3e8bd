import { describe, expect, test } from 'vitest';
import { loadCities } from '../src/cities.ts';
import { exampleSearches } from '../src/example-searches.ts';

describe('the searches of the demo', () => {
  const cities = loadCities();

  test('are for well-known places when all cities were loaded', () => {
    expect(exampleSearches(cities).map(({ query }) => query)).toEqual([
      'vienna',
      'reykj',
      'new york',
      'san',
      'springfield',
    ]);
  });

  test.each([1, 2, 10, 100, 2_000])('find something among the first %i cities', (rows) => {
    const loaded = cities.slice(0, rows);
    const examples = exampleSearches(loaded);
    for (const { query, organisation } of examples) {
      const found = loaded.filter(
        ({ name, country }) =>
          name.toLowerCase().startsWith(query) &&
          (organisation === undefined || country.toLowerCase() === organisation),
      );
      expect(found.length, query).toBeGreaterThan(0);
    }
    expect(examples.length).toBeGreaterThan(rows < 10 ? 0 : 2);
  });

  test('are none where nothing was loaded', () => {
    expect(exampleSearches([])).toEqual([]);
  });
});
