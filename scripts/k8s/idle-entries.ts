// Finds entries of kustomizations that change nothing. Kustomize says nothing of a patch whose target matches no object, nor
// of an image that nobody uses: each entry is taken out, and what is rendered must be another thing without it.

import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse as parseYaml, stringify } from 'yaml';
import type { Manifest } from './manifest.ts';
import { renderQuickly } from './render.ts';
import { K8S, TARGETS, withTarget } from './targets.ts';
import type { Target } from './targets.ts';

const LISTS = ['patches', 'images', 'replicas'] as const;

type Kustomization = Readonly<Partial<Record<(typeof LISTS)[number], readonly unknown[]>>> &
  Readonly<Record<string, unknown>>;

/**
 * @param k8s a copy of the manifests, by default those of the repository
 * @param folders a pattern of those whose kustomizations are looked at
 */
export async function idleEntries(
  k8s: string = K8S,
  folders: string = '{base,components,overlays}/**',
): Promise<string[]> {
  const scratch = mkdtempSync(join(tmpdir(), 'pulsebox-idle-'));
  const rendered = new Map<Target, readonly Manifest[]>();
  const faults: string[] = [];
  try {
    cpSync(k8s, scratch, { recursive: true });
    for (const path of globSync(`${folders}/kustomization.yaml`, { cwd: scratch })) {
      const target = targetOf(dirname(path));
      // Pins are about names and digests that this check makes up itself.
      if (target === undefined || path.includes('/pins/')) continue;
      const text = readFileSync(join(scratch, path), 'utf8');
      const whole = parseYaml(text) as Kustomization;
      const entries = LISTS.flatMap((list) =>
        (whole[list] ?? []).map((entry, index) => ({ list, entry, index })),
      );
      if (entries.length === 0) continue;
      const before = rendered.get(target) ?? (await withTarget(target, renderQuickly, scratch));
      rendered.set(target, before);
      for (const { list, entry, index } of entries) {
        const rest = (whole[list] ?? []).filter((_, other) => other !== index);
        writeFileSync(join(scratch, path), stringify({ ...whole, [list]: rest }));
        const after = await renderedWithout(target, scratch);
        if (after !== undefined && isDeepStrictEqual(before, after))
          faults.push(`${path}: ${list}[${index}] changes nothing: ${JSON.stringify(entry).slice(0, 100)}`);
      }
      writeFileSync(join(scratch, path), text);
    }
    return faults;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Undefined: without the entry nothing can be rendered, so it is needed. */
async function renderedWithout(target: Target, k8s: string): Promise<readonly Manifest[] | undefined> {
  try {
    return await withTarget(target, renderQuickly, k8s);
  } catch {
    return undefined;
  }
}

/** One that the kustomization is part of. */
function targetOf(folder: string): Target | undefined {
  const [kind = '', name = ''] = folder.split('/');
  if (kind === 'base') return TARGETS.find((target) => target.name === 'local');
  if (kind === 'overlays') return TARGETS.find((target) => target.name === name);
  const own = TARGETS.find(({ components }) => components.includes(name));
  if (own !== undefined) return own;
  const overlay = (['local', 'production'] as const).find((one) =>
    (
      parseYaml(readFileSync(join(K8S, 'overlays', one, 'kustomization.yaml'), 'utf8')) as {
        components?: string[];
      }
    ).components?.some((path) => path.endsWith(`/${name}`)),
  );
  return TARGETS.find((target) => target.name === overlay);
}
