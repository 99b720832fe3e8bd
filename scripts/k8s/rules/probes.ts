// Probes and the grace period, whose numbers follow from the code's: how long a worker needs to stop, and when its own
// /health says that it is stuck.

import { SECONDS_AFTER_DRAIN, WORKERS } from '../code.ts';
import { nameOf, podsOf, workersOf } from '../manifest.ts';
import type { ContainerSpec, MadePod, Manifest, Probe } from '../manifest.ts';
import type { Rendered, Rule } from '../rule.ts';
import { settingOf } from './settings.ts';

const KINDS = ['startupProbe', 'livenessProbe', 'readinessProbe'] as const;
const PATHS = {
  startupProbe: '/health/startup',
  livenessProbe: '/health/live',
  readinessProbe: '/health/ready',
} as const;

export const probesRule: Rule = (rendered) => [
  ...podsOf(rendered.manifests)
    .filter(({ owner }) => owner.kind === 'Deployment' || owner.kind === 'StatefulSet')
    .flatMap((pod) => pod.spec.containers.flatMap((container) => distinct(pod.owner, container))),
  ...workersOf(rendered.manifests).flatMap((pod) => [...portFaults(pod), ...timeFaults(rendered, pod)]),
];

function distinct(owner: Manifest, container: ContainerSpec): string[] {
  const where = `${nameOf(owner)}, container ${container.name}`;
  const asked = KINDS.map((kind) => [kind, container[kind]] as const);
  const missing = asked.flatMap(([kind, probe]) => (probe === undefined ? [`${where}: has no ${kind}`] : []));
  const equal = asked.flatMap(([kind, probe], index) =>
    asked
      .slice(index + 1)
      .filter(
        ([, other]) => probe !== undefined && other !== undefined && question(probe) === question(other),
      )
      .map(([other]) => `${where}: ${kind} and ${other} ask the same`),
  );
  const unknownPort = asked.flatMap(([kind, probe]) => {
    const port = probe?.httpGet?.port;
    if (port === undefined) return [];
    const there = (container.ports ?? []).some(
      ({ name, containerPort }) => name === port || containerPort === port,
    );
    return there ? [] : [`${where}: ${kind} asks port ${port}, which the container does not have`];
  });
  return [...missing, ...equal, ...unknownPort];
}

function portFaults({ owner, spec }: MadePod): string[] {
  const worker = WORKERS.find(({ name }) => name === owner.metadata.name);
  if (worker === undefined) return [`${nameOf(owner)}: no worker of the code has this name`];
  const [container] = spec.containers;
  const port = container?.ports?.find(({ name }) => name === 'health')?.containerPort;
  return [
    ...(port === worker.port
      ? []
      : [`${nameOf(owner)}: expected the port health to be ${worker.port}, got ${port}`]),
    ...KINDS.flatMap((kind) => {
      const path = container?.[kind]?.httpGet?.path;
      return path === PATHS[kind]
        ? []
        : [`${nameOf(owner)}: expected ${kind} to ask ${PATHS[kind]}, got ${path}`];
    }),
  ];
}

function timeFaults(rendered: Rendered, { owner, spec }: MadePod): string[] {
  const [container] = spec.containers;
  if (container === undefined) return [];
  const drain = Number(settingOf(rendered, container, 'WORKER_DRAIN_SECONDS'));
  const multiplier = Number(settingOf(rendered, container, 'WORKER_HEALTH_STALENESS_MULTIPLIER'));
  const { terminationGracePeriodSeconds: grace = 30 } = spec;
  const needed = drain + SECONDS_AFTER_DRAIN;
  const live = patience(container.livenessProbe);
  // /health forgives silence of the event loop for so long; the probe must not be quicker than the verdict it asks for.
  const forgiven = Math.ceil(multiplier);
  return [
    ...(grace > needed
      ? []
      : [
          `${nameOf(owner)}: terminationGracePeriodSeconds is ${grace}, but a worker may need ${needed} s to stop (WORKER_DRAIN_SECONDS ${drain} and ${SECONDS_AFTER_DRAIN} s)`,
        ]),
    ...(live > forgiven
      ? []
      : [`${nameOf(owner)}: livenessProbe gives up after ${live} s, before /health itself (${forgiven} s)`]),
    ...(patience(container.startupProbe) >= 60
      ? []
      : [`${nameOf(owner)}: startupProbe gives a worker less than 60 s to start`]),
    ...((container.livenessProbe?.terminationGracePeriodSeconds ?? grace) < grace
      ? []
      : [
          `${nameOf(owner)}: a stuck worker would be waited for as long as one that drains; give livenessProbe a shorter terminationGracePeriodSeconds`,
        ]),
  ];
}

function patience(probe: Probe | undefined): number {
  return (probe?.periodSeconds ?? 10) * (probe?.failureThreshold ?? 3);
}

function question({ httpGet, exec }: Probe): string {
  return JSON.stringify({ httpGet, exec });
}
