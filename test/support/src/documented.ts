// What docs/ say of a package, and what its sources have, for tests that hold one against the other.

import { readdirSync, readFileSync } from 'node:fs';

const root = new URL('../../../', import.meta.url);

/** What a page of docs/ says under the heading of the package. */
export function sectionOf(page: string, room: string): string {
  const text = readFileSync(new URL(`docs/${page}`, root), 'utf8');
  const section = text.split(/^## /m).find((part) => part.startsWith(`${room}\n`));
  if (section === undefined) throw new Error(`docs/${page} has no section "## ${room}"`);
  return section;
}

/** The codes that docs/errors.md explains for the package, sorted. */
export function explainedCodes(room: string): string[] {
  return [...sectionOf('errors.md', room).matchAll(/^### `(\w+)`$/gm)]
    .map(([, code = '']) => code)
    .toSorted();
}

/** The codes that stand in the package's sources, as literals or at the end of a message, but for the list of them, sorted. */
export function usedCodes(room: string, prefix: string): string[] {
  const folder = new URL(`${room}/src/`, root);
  const literal = new RegExp(`'(${prefix}_[A-Z0-9_]+)'|\\((${prefix}_[A-Z0-9_]+)\\)\``, 'g');
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('-error.ts'))
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = sources.flatMap((text) =>
    [...text.matchAll(literal)].map(([, code, ending = '']) => code ?? ending),
  );
  return [...new Set(used)].toSorted();
}

/** The families of metrics that docs/metrics.md lists for the package: `name type label label`, sorted. */
export function documentedFamilies(room: string): string[] {
  const rows = sectionOf('metrics.md', room).matchAll(/^\| `(\w+)` *\| (\w+) *\| ([^|]*)\|/gm);
  return [...rows]
    .map(([, name = '', type = '', labels = '']) =>
      family(
        name,
        type,
        [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label),
      ),
    )
    .toSorted();
}

interface Served {
  getMetricsAsJSON(): Promise<
    readonly {
      readonly name: string;
      readonly type: unknown;
      readonly values: readonly { readonly labels: object }[];
    }[]
  >;
}

/** The families of a registry, in the same form. The labels of one without a series are not known to it. */
export async function servedFamilies(registry: Served): Promise<string[]> {
  const served = await registry.getMetricsAsJSON();
  return served
    .map(({ name, type, values }) => {
      const labels = new Set(values.flatMap((value) => Object.keys(value.labels)));
      labels.delete('le');
      return family(name, String(type), [...labels]);
    })
    .toSorted();
}

function family(name: string, type: string, labels: readonly string[]): string {
  return [name, type, ...labels.toSorted()].join(' ');
}
