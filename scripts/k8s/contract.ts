// What an installation gets from outside its manifests: Secrets and settings that the operators of a cluster provide. The
// example file says what there may be; who reads each key is found in the manifests.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from './manifest.ts';
import { parse } from './render.ts';

export interface Contract {
  /** Keys of each Secret and ConfigMap, by `Kind name`. */
  readonly keys: ReadonlyMap<string, ReadonlySet<string>>;
  /** Names that may be referred to without being there: the kubelet passes over a pull secret that does not exist. */
  readonly optionalNames: ReadonlySet<string>;
}

const EXAMPLE = join(import.meta.dirname, '..', '..', 'k8s', 'contract.example.yaml');

export function readContract(): Contract {
  return contractOf(parse(readFileSync(EXAMPLE, 'utf8')));
}

export function contractOf(manifests: readonly Manifest[]): Contract {
  return {
    keys: new Map(
      manifests.map(({ kind, metadata, data, stringData }) => [
        `${kind} ${metadata.name}`,
        new Set(Object.keys({ ...data, ...stringData })),
      ]),
    ),
    optionalNames: new Set(['Secret registry']),
  };
}
