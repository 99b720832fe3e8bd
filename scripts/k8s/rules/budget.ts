// Resources: within the tenant's budget, memory asked for and allowed alike, and a heap that leaves room for the rest.

import { nameOf, podsOf, quantity, workersOf } from '../manifest.ts';
import type { ContainerSpec, MadePod, Resources } from '../manifest.ts';
import type { Rule } from '../rule.ts';
import { settingOf } from './settings.ts';

interface Row {
  readonly requests: Required<Resources>;
  readonly limits: Required<Resources>;
}

/** The table of the first founding document, for all replicas of a component together. docs/operations/deployment.md has it. */
export const BUDGET: Readonly<Record<string, Row>> = {
  worker: { requests: { cpu: '100m', memory: '256Mi' }, limits: { cpu: '500m', memory: '1Gi' } },
  'push-worker': { requests: { cpu: '50m', memory: '128Mi' }, limits: { cpu: '250m', memory: '512Mi' } },
  'watch-worker': { requests: { cpu: '50m', memory: '128Mi' }, limits: { cpu: '250m', memory: '512Mi' } },
  postgres: { requests: { cpu: '200m', memory: '256Mi' }, limits: { cpu: '500m', memory: '1Gi' } },
};

/** What a busy worker takes beside V8's two generations: code, buffers, stacks, the sidecar's thread. Measured: up to 55 MiB. */
const BESIDE_THE_HEAP_MIB = 60;
/** V8's own choice where --max-semi-space-size does not say it; the young generation is three of them. */
const SEMI_SPACE_MIB = 16;

export const budgetRule: Rule = (rendered) => [
  ...podsOf(rendered.manifests).flatMap((pod) => [
    ...[...(pod.spec.initContainers ?? []), ...pod.spec.containers].flatMap((container) =>
      memoryFaults(pod, container, rendered.tenant),
    ),
    ...(rendered.tenant ? overBudget(pod) : []),
  ]),
  ...workersOf(rendered.manifests).flatMap((pod) =>
    pod.spec.containers.flatMap((container) =>
      heapFaults(pod, container, settingOf(rendered, container, 'NODE_OPTIONS')),
    ),
  ),
];

function memoryFaults({ owner, spec }: MadePod, container: ContainerSpec, tenant: boolean): string[] {
  const { requests, limits } = container.resources ?? {};
  const where = `${nameOf(owner)}, container ${container.name}`;
  if (requests?.cpu === undefined || requests.memory === undefined)
    return [`${where}: asks for no CPU or no memory`];
  if (limits?.memory === undefined) return [`${where}: has no memory limit`];
  const asked = quantity(requests.memory);
  const allowed = quantity(limits.memory);
  const row = BUDGET[owner.metadata.name];
  // PostgreSQL's memory is nobody's to cap: where a budget promises too little, all that is promised is asked for.
  if (tenant && owner.kind === 'StatefulSet' && row !== undefined && spec.containers.includes(container))
    return asked === Math.min(allowed, quantity(row.requests.memory))
      ? []
      : [
          `${where}: asks for ${requests.memory} of memory, but ${row.requests.memory} are promised, and ${limits.memory} allowed`,
        ];
  return asked === allowed
    ? []
    : [`${where}: its memory limit is not its request: what is not asked for can be taken away again`];
}

function overBudget({ owner, spec }: MadePod): string[] {
  const row = BUDGET[owner.metadata.name];
  if (row === undefined)
    return owner.kind === 'Deployment' || owner.kind === 'StatefulSet'
      ? [`${nameOf(owner)}: has no row in the budget`]
      : [];
  const replicas = owner.spec?.replicas ?? 1;
  return (['requests', 'limits'] as const).flatMap((kind) =>
    (['cpu', 'memory'] as const).flatMap((resource) => {
      const amounts = (containers: readonly ContainerSpec[]): number[] =>
        containers.map(({ resources }) => {
          const amount = resources?.[kind]?.[resource];
          return amount === undefined ? (kind === 'limits' ? Number.POSITIVE_INFINITY : 0) : quantity(amount);
        });
      const running = amounts(spec.containers).reduce((sum, amount) => sum + amount, 0);
      // Init containers run one after the other, before the others.
      const taken = replicas * Math.max(running, ...amounts(spec.initContainers ?? []));
      const allowed = quantity(row[kind][resource]);
      return taken <= allowed * 1.000_001
        ? []
        : [
            `${nameOf(owner)}: ${kind} of ${resource} are beyond the budget of ${row[kind][resource]}${taken === Number.POSITIVE_INFINITY ? ': there is no limit' : ''}`,
          ];
    }),
  );
}

function heapFaults(
  { owner }: MadePod,
  { resources, name }: ContainerSpec,
  nodeOptions: string | undefined,
): string[] {
  const where = `${nameOf(owner)}, container ${name}`;
  const mib = (flag: string): number | undefined => {
    const given = new RegExp(`--${flag}=(\\d+)`).exec(nodeOptions ?? '')?.[1];
    return given === undefined ? undefined : Number(given);
  };
  const old = mib('max-old-space-size');
  if (old === undefined)
    return [
      `${where}: NODE_OPTIONS has no --max-old-space-size: Node would size its heap by the node's memory`,
    ];
  const young = 3 * (mib('max-semi-space-size') ?? SEMI_SPACE_MIB);
  const limitMib = quantity(resources?.limits?.memory ?? 0) / 2 ** 20;
  return old + young + BESIDE_THE_HEAP_MIB <= limitMib
    ? []
    : [
        `${where}: a heap of ${old} MiB and ${young} MiB for what is young leave less than ${BESIDE_THE_HEAP_MIB} of ${limitMib} MiB for the rest`,
      ];
}
