// Which images production runs, by digest: what `npm run k8s:pin` writes, and whether it has been written.

import { join } from 'node:path';
import { stringify } from 'yaml';
import { containersOf, podsOf } from './manifest.ts';
import type { Manifest } from './manifest.ts';

export const IMAGES = ['pulsebox', 'postgres'] as const;
export type Image = (typeof IMAGES)[number];

export interface PinnedImage {
  readonly name: string;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
}

const HEADER = `# Written by \`npm run k8s:pin -- --pulsebox NAME@sha256:… --postgres NAME@sha256:…\`. The migration Job carries the digest in its
# name: the template of a Job cannot be changed, so that another version needs another Job.
`;

export function pinsFile(k8s: string): string {
  return join(k8s, 'overlays', 'production', 'pins', 'kustomization.yaml');
}

/** Undefined: it is no image by digest. */
export function parsePin(text: string): PinnedImage | undefined {
  const [, name, digest] = /^([a-z0-9][^\s@]*)@(sha256:[0-9a-f]{64})$/.exec(text) ?? [];
  return name === undefined || digest === undefined ? undefined : { name, digest };
}

export function pins(images: Readonly<Record<Image, PinnedImage>>): string {
  const version = images.pulsebox.digest.slice('sha256:'.length, 'sha256:'.length + 12);
  return (
    HEADER +
    stringify({
      apiVersion: 'kustomize.config.k8s.io/v1alpha1',
      kind: 'Component',
      images: IMAGES.map((image) => ({
        name: image,
        newName: images[image].name,
        digest: images[image].digest,
      })),
      patches: [
        {
          target: { kind: 'Job', name: 'migrate' },
          patch: `- op: replace\n  path: /metadata/name\n  value: migrate-${version}\n`,
        },
      ],
    })
  );
}

/** Images that are not named by digest. */
export function unpinned(manifests: readonly Manifest[]): string[] {
  const images = podsOf(manifests).flatMap((pod) => containersOf(pod).map(({ image }) => image));
  return [...new Set(images)].filter((image) => !image.includes('@sha256:'));
}
