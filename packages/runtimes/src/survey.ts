// A look at the cluster and at the database, in this order, and what is to be done by both. Changes nothing.

import type { Queryable } from '@pulsebox/postgres';
import type { Cluster, SeenPod, SeenService } from './cluster.ts';
import { decide } from './decide.ts';
import type { Decision, Rules } from './decide.ts';
import { orphansOf } from './orphans.ts';
import type { Orphan } from './orphans.ts';
import { relevantRuntimes } from './runtime-row.ts';
import type { RuntimeRow } from './runtime-row.ts';

export interface SurveyRules extends Rules {
  /** Nothing younger is an orphan. */
  readonly orphanAgeMs: number;
}

export interface Survey {
  readonly runtimes: readonly { readonly row: RuntimeRow; readonly decisions: readonly Decision[] }[];
  readonly orphans: readonly Orphan[];
}

export interface SurveyOptions {
  readonly db: Queryable;
  readonly cluster: Cluster;
  readonly rules: SurveyRules;
  readonly signal: AbortSignal;
  /** Between the two looks. */
  readonly afterListing?: () => Promise<void>;
}

/**
 * The cluster first. What is listed was written down before it was created; what is not listed may have been created
 * since, which is why its absence is confirmed by a look at the object itself before anything follows from it.
 *
 * @throws RUNTIMES_API_*
 */
export async function survey({ db, cluster, rules, signal, afterListing }: SurveyOptions): Promise<Survey> {
  const view = await cluster.list(signal);
  await afterListing?.();
  const names = new Set([...view.pods, ...view.services].map(({ name }) => name));
  const rows = await relevantRuntimes(db, [...names]);
  const pods = byName<SeenPod>(view.pods);
  const services = byName<SeenService>(view.services);
  return {
    runtimes: rows.map((row) => ({
      row,
      decisions: decide({ row, pod: pods.get(row.name), service: services.get(row.name) }, rules),
    })),
    orphans: orphansOf(view, byName(rows), rules.orphanAgeMs),
  };
}

function byName<T extends { readonly name: string }>(objects: readonly T[]): ReadonlyMap<string, T> {
  return new Map(objects.map((object) => [object.name, object]));
}
