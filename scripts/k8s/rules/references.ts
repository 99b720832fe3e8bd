// Whatever names something else names something that is there: by label, by name, by port, by key.

import { containersOf, nameOf, podsOf, selects } from '../manifest.ts';
import type { KeyReference, MadePod, Manifest, PolicyPeers, Selector } from '../manifest.ts';
import type { Rendered, Rule } from '../rule.ts';

export const referencesRule: Rule = (rendered) => [
  ...podsOf(rendered.manifests).flatMap((pod) => [...ownSelector(pod), ...fromPod(rendered, pod)]),
  ...rendered.manifests.flatMap((manifest) => fromObject(rendered, manifest)),
];

function ownSelector({ owner, labels }: MadePod): string[] {
  const selector = owner.spec?.selector;
  return selector === undefined || selects(selector, labels)
    ? []
    : [`${nameOf(owner)}: its selector does not match its own Pods`];
}

function fromPod(rendered: Rendered, pod: MadePod): string[] {
  const { manifests, contract } = rendered;
  const faults: string[] = [];
  const where = nameOf(pod.owner);
  const named = (kind: string, name: string | undefined, what: string): void => {
    if (name === undefined || find(manifests, kind, name) !== undefined) return;
    if (contract.keys.has(`${kind} ${name}`) || contract.optionalNames.has(`${kind} ${name}`)) return;
    faults.push(`${where}: ${what} names ${kind} ${name}, which is not there`);
  };
  const keyed = (kind: string, reference: KeyReference, what: string): void => {
    named(kind, reference.name, what);
    const there = find(manifests, kind, reference.name);
    // What may be missing, or is made elsewhere, is at least one of the contract.
    const agreed =
      there === undefined || reference.optional === true
        ? contract.keys.get(`${kind} ${withoutHash(reference.name)}`)
        : undefined;
    if (
      !Object.keys({ ...there?.data, ...there?.stringData }).includes(reference.key) &&
      agreed?.has(reference.key) !== true
    )
      faults.push(
        `${where}: ${what} names the key ${reference.key}, which ${kind} ${reference.name} does not have`,
      );
  };
  named('ServiceAccount', pod.spec.serviceAccountName, 'serviceAccountName');
  for (const { name } of pod.spec.imagePullSecrets ?? []) named('Secret', name, 'imagePullSecrets');
  for (const { name, secret, configMap, persistentVolumeClaim } of pod.spec.volumes ?? []) {
    named('Secret', secret?.secretName, `volume ${name}`);
    for (const { key } of secret?.items ?? [])
      keyed('Secret', { name: secret?.secretName ?? '', key }, `volume ${name}`);
    named('ConfigMap', configMap?.name, `volume ${name}`);
    named('PersistentVolumeClaim', persistentVolumeClaim?.claimName, `volume ${name}`);
  }
  const volumes = [
    ...(pod.spec.volumes ?? []).map(({ name }) => name),
    ...(pod.owner.spec?.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name),
  ];
  for (const container of containersOf(pod)) {
    for (const { name } of container.volumeMounts ?? [])
      if (!volumes.includes(name))
        faults.push(`${where}, container ${container.name}: mounts ${name}, which is no volume`);
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      named('ConfigMap', configMapRef?.name, `container ${container.name}`);
      named('Secret', secretRef?.name, `container ${container.name}`);
    }
    for (const { name, valueFrom } of container.env ?? []) {
      if (valueFrom?.secretKeyRef !== undefined) keyed('Secret', valueFrom.secretKeyRef, name);
      if (valueFrom?.configMapKeyRef !== undefined) keyed('ConfigMap', valueFrom.configMapKeyRef, name);
    }
  }
  return faults;
}

function fromObject({ manifests, contract }: Rendered, manifest: Manifest): string[] {
  const { kind, spec } = manifest;
  const where = nameOf(manifest);
  const pods = podsOf(manifests);
  const nobody = (selector: Selector, what: string): string[] =>
    pods.some(({ labels }) => selects(selector, labels)) ? [] : [`${where}: ${what} selects no Pod`];
  switch (kind) {
    case 'Service': {
      const selected = pods.filter(({ labels }) => selects({ matchLabels: spec?.selector ?? {} }, labels));
      if (selected.length === 0) return [`${where}: its selector selects no Pod`];
      return (spec?.ports ?? [])
        .filter(({ port, targetPort = port }) =>
          selected.every((pod) =>
            containersOf(pod).every(({ ports = [] }) =>
              ports.every(({ name, containerPort }) => name !== targetPort && containerPort !== targetPort),
            ),
          ),
        )
        .map(({ targetPort }) => `${where}: no container has the port ${targetPort}`);
    }
    case 'PodDisruptionBudget':
    case 'PodMonitor':
    case 'PeerAuthentication':
      return nobody(spec?.selector ?? {}, 'its selector');
    case 'NetworkPolicy': {
      const portsOfPods = pods
        .filter(({ labels }) => selects(spec?.podSelector ?? {}, labels))
        .flatMap(portsOf);
      return [
        ...nobody(spec?.podSelector ?? {}, 'podSelector'),
        ...[...(spec?.ingress ?? []), ...(spec?.egress ?? [])].flatMap((peers) =>
          unknownPeers(peers, pods, where),
        ),
        ...(spec?.ingress ?? [])
          .flatMap(({ ports = [] }) => ports)
          .filter(({ port }) => port !== undefined && !portsOfPods.includes(Number(port)))
          .map(({ port }) => `${where}: lets in to port ${port}, which no selected Pod has`),
      ];
    }
    case 'HorizontalPodAutoscaler':
    case 'ScaledObject': {
      const { name, kind: target = 'Deployment' } = spec?.scaleTargetRef ?? { name: '' };
      const authentications = (spec?.triggers ?? []).flatMap(
        ({ authenticationRef }) => authenticationRef?.name ?? [],
      );
      return [
        ...(find(manifests, target, name) === undefined
          ? [`${where}: scales ${target} ${name}, which is not there`]
          : []),
        ...authentications
          .filter((auth) => find(manifests, 'TriggerAuthentication', auth) === undefined)
          .map((auth) => `${where}: names TriggerAuthentication ${auth}, which is not there`),
      ];
    }
    case 'TriggerAuthentication':
      return (spec?.secretTargetRef ?? [])
        .filter(({ name, key }) => contract.keys.get(`Secret ${name}`)?.has(key) !== true)
        .map(({ name, key }) => `${where}: names the key ${key}, which Secret ${name} does not have`);
    case 'ExternalSecret':
      return contract.keys.has(`Secret ${spec?.target?.name}`)
        ? []
        : [`${where}: makes Secret ${spec?.target?.name}, which nobody reads`];
    case 'Ingress':
      return (spec?.rules ?? [])
        .flatMap(({ http }) => http.paths.map(({ backend }) => backend.service))
        .filter(
          ({ name, port }) =>
            !(find(manifests, 'Service', name)?.spec?.ports ?? []).some(
              (one) => one.name === port.name || one.port === port.number,
            ),
        )
        .map(({ name }) => `${where}: leads to Service ${name}, or to a port of it, which is not there`);
    case 'VirtualService':
    case 'DestinationRule':
      return [...(spec?.hosts ?? []), ...(spec?.host === undefined ? [] : [spec.host])]
        .filter((host) => find(manifests, 'Service', host) === undefined)
        .map((host) => `${where}: is about Service ${host}, which is not there`);
    case 'RoleBinding':
      return [
        ...(manifest.roleRef !== undefined &&
        find(manifests, manifest.roleRef.kind, manifest.roleRef.name) === undefined
          ? [`${where}: binds ${manifest.roleRef.kind} ${manifest.roleRef.name}, which is not there`]
          : []),
        ...(manifest.subjects ?? [])
          .filter(({ kind: of, name }) => find(manifests, of, name) === undefined)
          .map(({ kind: of, name }) => `${where}: binds to ${of} ${name}, which is not there`),
      ];
    default:
      return [];
  }
}

/** Peers that are Pods of ours by their labels; those of other namespaces, and of other applications, are not ours to find. */
function unknownPeers(
  { from = [], to = [] }: PolicyPeers,
  pods: readonly MadePod[],
  where: string,
): string[] {
  const ours = ['pulsebox', 'postgres'];
  return [...from, ...to].flatMap(({ podSelector, namespaceSelector }) => {
    if (podSelector === undefined || namespaceSelector !== undefined) return [];
    if (!ours.includes(podSelector.matchLabels?.['app.kubernetes.io/name'] ?? '')) return [];
    return pods.some(({ labels }) => selects(podSelector, labels))
      ? []
      : [`${where}: names Pods as peers that are not there`];
  });
}

/** Kustomize's generators append a hash of the content. */
function withoutHash(name: string): string {
  return name.replace(/-[a-z0-9]{10}$/, '');
}

function portsOf(pod: MadePod): number[] {
  return containersOf(pod).flatMap(({ ports = [] }) => ports.map(({ containerPort }) => containerPort));
}

function find(manifests: readonly Manifest[], kind: string, name: string): Manifest | undefined {
  return manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
}
