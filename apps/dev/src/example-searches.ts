// What the demo searches for: well-known places where they were loaded, and others that were where they were not.

import type { SearchQuery } from '@pulsebox/search';
import type { City } from './cities.ts';

export interface ExampleSearch extends SearchQuery {
  readonly say: string;
}

type NamedPlace = Pick<City, 'name' | 'country'>;

const ONE_WORD = /^[A-Za-z]{3,}$/;
const SEVERAL_WORDS = /^[A-Za-z]+(?: [A-Za-z]+)+$/;

/** Each finds something among these cities; a kind for which there is nothing to find is left out. */
export function exampleSearches(cities: readonly NamedPlace[]): readonly ExampleSearch[] {
  const oneWord = cities.filter(({ name }) => ONE_WORD.test(name));
  const words = new Set(oneWord.map(({ name }) => name.toLowerCase()));
  const name = words.has('vienna') ? 'vienna' : oneWord[0]?.name.toLowerCase();
  const long = oneWord
    .findLast((city) => city.name.length > 5)
    ?.name.slice(0, 5)
    .toLowerCase();
  const beginning = cities.some((city) => city.name.startsWith('Reykj')) ? 'reykj' : long;
  const several = cities.find((city) => SEVERAL_WORDS.test(city.name))?.name.toLowerCase();
  const pair = cities.some((city) => city.name === 'New York City') ? 'new york' : several;
  const local =
    cities.find((city) => city.country === 'US' && city.name.startsWith('San ')) ?? oneWord.at(-1);
  const shared = words.has('springfield') ? 'springfield' : mostShared(oneWord);
  return [
    ...(name === undefined ? [] : [{ say: 'a name', query: name }]),
    ...(beginning === undefined ? [] : [{ say: 'the beginning of a name', query: beginning }]),
    ...(pair === undefined ? [] : [{ say: 'several words', query: pair }]),
    ...(local === undefined
      ? []
      : [
          {
            say: 'one organisation only (its country)',
            query: local.name.slice(0, 3).toLowerCase(),
            organisation: local.country.toLowerCase(),
          },
        ]),
    ...(shared === undefined ? [] : [{ say: 'a place that many share', query: shared }]),
  ];
}

/** Undefined: no name is there twice. */
function mostShared(cities: readonly NamedPlace[]): string | undefined {
  const counts = new Map<string, number>();
  for (const { name } of cities) counts.set(name, (counts.get(name) ?? 0) + 1);
  const [most] = [...counts].toSorted(([, one], [, other]) => other - one);
  return most === undefined || most[1] < 2 ? undefined : most[0].toLowerCase();
}
