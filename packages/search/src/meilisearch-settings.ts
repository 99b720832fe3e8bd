// A projection's settings in Meilisearch's words.

import type { Settings } from 'meilisearch';
import type { Projection } from './projection.ts';

/** What an organisation's search is narrowed by; every document carries it. */
export const ORGANISATION = 'organisation';

export type OwnSettings = Required<
  Pick<Settings, 'searchableAttributes' | 'filterableAttributes' | 'sortableAttributes'>
>;

export function settingsOf({ settings }: Projection): OwnSettings {
  return {
    searchableAttributes: [...settings.searchable],
    filterableAttributes: [ORGANISATION, ...settings.filterable],
    sortableAttributes: [...settings.sortable],
  };
}

/**
 * Whether the index has them already: telling it again would queue a task for nothing at every start. Other settings
 * (synonyms, typo tolerance) are the operator's own and are left alone.
 */
export function sameSettings(present: Settings, wanted: OwnSettings): boolean {
  return (
    // Their order is that of importance; that of the others means nothing, and Meilisearch sorts them.
    JSON.stringify(present.searchableAttributes) === JSON.stringify(wanted.searchableAttributes) &&
    sameSet(present.filterableAttributes ?? [], wanted.filterableAttributes ?? []) &&
    sameSet(present.sortableAttributes ?? [], wanted.sortableAttributes ?? [])
  );
}

function sameSet(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((element) => other.includes(element));
}
