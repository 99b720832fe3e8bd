// What replays and discards say in the same words.

import { count } from './quantities.ts';

/** ` of search`, ` of search (3) and push (1)`; groups with none are left out. */
export function perGroup(groups: readonly (readonly [group: string, n: number])[]): string {
  const some = groups.filter(([, n]) => n > 0);
  if (some.length <= 1) return some.map(([group]) => ` of ${group}`).join('');
  const named = some.map(([group, n]) => `${group} (${count(n)})`);
  return ` of ${named.slice(0, -1).join(', ')} and ${named.at(-1) ?? ''}`;
}

const MOST_IDS = 10;

/** A line for ids that are not there; nothing when all are. */
export function missingRemark(missing: readonly string[]): string {
  if (missing.length === 0) return '';
  const more = missing.length > MOST_IDS ? ` and ${count(missing.length - MOST_IDS)} more` : '';
  return `\nnot there (delivered or discarded, or never failed): ${missing.slice(0, MOST_IDS).join(', ')}${more}`;
}
