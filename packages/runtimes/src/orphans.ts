// Objects in the cluster that no runtime of the database accounts for.

import type { ClusterView, SeenPod, SeenService } from './cluster.ts';
import type { RuntimeRow } from './runtime-row.ts';

export interface Orphan {
  readonly object: SeenPod | SeenService;
  readonly reason: string;
  /** False: it is too young to be called an orphan. */
  readonly old: boolean;
}

/**
 * The cluster has to be listed before the rows are read: whatever is in the list was written down before it was created,
 * so a row that does not know it will not come to know it either. The age is for what no order of reads can exclude: a
 * database that was just restored, or one that is not the right one.
 *
 * Objects of runtimes that are at rest, or wait for a place, are orphans; those of others are dealt with by `decide`.
 */
export function orphansOf(
  view: ClusterView,
  rowsByName: ReadonlyMap<string, RuntimeRow>,
  orphanAgeMs: number,
): readonly Orphan[] {
  return [...view.pods, ...view.services].flatMap((object) => {
    const row = rowsByName.get(object.name);
    if (object.deleting || (row !== undefined && isAccountedFor(row))) return [];
    const reason =
      row === undefined
        ? 'the database knows no runtime of this name'
        : `the runtime of ${row.userId} is ${row.state === 'starting' ? 'waiting for a place' : row.state}`;
    return [{ object, reason, old: Date.now() - object.createdAtMs >= orphanAgeMs }];
  });
}

function isAccountedFor({ placed }: RuntimeRow): boolean {
  return placed;
}
