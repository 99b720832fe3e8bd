// A process as its container is in a cluster: what it may use of memory is said there, and V8 takes what it is given.

import { readFileSync } from 'node:fs';

const ROOT = new URL('../../../', import.meta.url);

export interface ProcessSettings {
  /** Node's own, such as --max-old-space-size=128. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The heap of k8s/base and the allocator of the image. @throws Error when they are said otherwise than they were */
export function asDeployed(app: 'worker' | 'push-worker' | 'watch-worker'): ProcessSettings {
  const flags = find(`k8s/base/${app}.yaml`, /name: NODE_OPTIONS\n\s+value: (?<value>\S.*)/);
  const arenas = find('Dockerfile', /\bMALLOC_ARENA_MAX=(?<value>\d+)/);
  return { flags: flags.split(' '), env: { MALLOC_ARENA_MAX: arenas } };
}

function find(path: string, pattern: RegExp): string {
  const value = pattern.exec(readFileSync(new URL(path, ROOT), 'utf8'))?.groups?.['value'];
  if (value === undefined) throw new Error(`expected ${path} to have ${pattern}`);
  return value;
}
