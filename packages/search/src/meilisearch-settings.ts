// A projection's settings in Meilisearch's words.

import { createHash } from 'node:crypto';
import type { Settings } from 'meilisearch';
import type { Projection } from './projection.ts';

/** For people, and for keys that are bound to a filter: every document carries its organisation. */
export const ORGANISATION = 'organisation';

/**
 * What an organisation's search is narrowed by. Meilisearch compares text without regard to case, and only the first
 * 468 bytes of it: "acme" would see what belongs to "Acme". A digest has neither trouble.
 */
export const ORGANISATION_KEY = 'organisation_key';

export function organisationKey(organisation: string): string {
  return createHash('sha256').update(organisation).digest('hex').slice(0, 32);
}

export type OwnSettings = Required<
  Pick<Settings, 'searchableAttributes' | 'filterableAttributes' | 'sortableAttributes'>
>;

export function settingsOf({ settings }: Projection): OwnSettings {
  return {
    searchableAttributes: [...settings.searchable],
    filterableAttributes: [ORGANISATION, ORGANISATION_KEY, ...settings.filterable],
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
