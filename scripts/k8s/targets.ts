// What is rendered and checked: both overlays, and each component on top of one of them, as an operator would add it.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { stringify } from 'yaml';

export const K8S = join(import.meta.dirname, '..', '..', 'k8s');

export interface Target {
  readonly name: string;
  /** A folder below k8s/overlays. */
  readonly overlay: 'local' | 'production';
  /** Folders below k8s/components, added to it. */
  readonly components: readonly string[];
}

export const TARGETS: readonly Target[] = [
  { name: 'local', overlay: 'local', components: [] },
  { name: 'local with backups and monitoring', overlay: 'local', components: ['backup', 'monitoring'] },
  { name: 'local with tracing', overlay: 'local', components: ['tracing'] },
  { name: 'production', overlay: 'production', components: [] },
  ...['keda', 'hpa', 'external-secrets', 'backup', 'files', 'monitoring', 'tracing'].map((component) => ({
    name: `production with ${component}`,
    overlay: 'production' as const,
    components: [component],
  })),
  // Last: it is about the Pods of all others.
  { name: 'production with backup and istio', overlay: 'production', components: ['backup', 'istio'] },
];

/** Digests as a registry would give them, to see that no image escapes being pinned. */
const DIGESTS = {
  pulsebox: 'sha256:6f1d0c2f8b7a4e935d8c1b0a97e64f32d5c8b1a07f3e6924d8c5b1a07e3f6924',
  postgres: 'sha256:0a97e64f32d5c8b1a07f3e6924d8c5b1a07e3f69246f1d0c2f8b7a4e935d8c1b',
} as const;

/** Calls `use` with a folder that renders to the target. `k8s`: another copy of the manifests. */
export async function withTarget<T>(
  target: Target,
  use: (folder: string) => T | Promise<T>,
  k8s: string = K8S,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'pulsebox-k8s-'));
  try {
    mkdirSync(folder, { recursive: true });
    const above = (path: string): string => relative(folder, join(k8s, path));
    writeFileSync(
      join(folder, 'kustomization.yaml'),
      stringify({
        apiVersion: 'kustomize.config.k8s.io/v1beta1',
        kind: 'Kustomization',
        resources: [above(`overlays/${target.overlay}`)],
        components: target.components.map((component) => above(`components/${component}`)),
        ...(target.overlay === 'production'
          ? { images: Object.entries(DIGESTS).map(([name, digest]) => ({ name, digest })) }
          : { namespace: 'pulsebox' }),
      }),
    );
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
