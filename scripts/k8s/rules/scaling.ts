// One owner of the number of replicas, and no more connections than PostgreSQL has.

import { containersOf, nameOf, podsOf, workersOf } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import type { Rendered, Rule } from '../rule.ts';
import { settingOf } from './settings.ts';

const AUTOSCALERS = ['HorizontalPodAutoscaler', 'ScaledObject'];
/** Kept free for people, backups and the migration. */
const SPARE_CONNECTIONS = 5;

export const scalingRule: Rule = (rendered) => {
  const scaled = rendered.manifests.filter(({ kind }) => AUTOSCALERS.includes(kind));
  return [
    ...workersOf(rendered.manifests).flatMap(({ owner }) => {
      const by = scaled.filter(({ spec }) => spec?.scaleTargetRef?.name === owner.metadata.name);
      return [
        ...(by.length > 0 && owner.spec?.replicas !== undefined
          ? [
              `${nameOf(owner)}: has a fixed number of replicas beside ${by.map(nameOf).join(' and ')}: each apply would put it back`,
            ]
          : []),
        ...(by.length > 1 ? [`${nameOf(owner)}: is scaled by ${by.map(nameOf).join(' and ')} at once`] : []),
        ...(by.length === 0 && owner.spec?.replicas === undefined
          ? [`${nameOf(owner)}: nobody says how many replicas`]
          : []),
      ];
    }),
    ...connectionFaults(rendered, scaled),
  ];
};

function connectionFaults(rendered: Rendered, scaled: readonly Manifest[]): string[] {
  const postgres = podsOf(rendered.manifests).find(({ owner }) => owner.kind === 'StatefulSet');
  if (postgres === undefined) return [];
  const argument = containersOf(postgres)
    .flatMap(({ args = [] }) => args)
    .find((arg) => arg.includes('max_connections='));
  const allowed = Number(/max_connections=(\d+)/.exec(argument ?? '')?.[1] ?? 100);
  const taken = workersOf(rendered.manifests).reduce((sum, { owner, spec }) => {
    const autoscaler = scaled.find((one) => one.spec?.scaleTargetRef?.name === owner.metadata.name)?.spec;
    const most = autoscaler?.maxReplicas ?? autoscaler?.maxReplicaCount ?? owner.spec?.replicas ?? 1;
    const [container] = spec.containers;
    const pool = container === undefined ? 0 : Number(settingOf(rendered, container, 'DATABASE_POOL_SIZE'));
    // One more for LISTEN; one Pod more while a roll-out surges.
    return sum + (most === 0 ? 0 : most + 1) * (pool + 1);
  }, 0);
  return taken + SPARE_CONNECTIONS <= allowed
    ? []
    : [
        `the workers may open ${taken} connections at once, and ${nameOf(postgres.owner)} allows ${allowed} (${SPARE_CONNECTIONS} of them for others)`,
      ];
}
