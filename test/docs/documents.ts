// The documents of the repository and what is in them, for tests that try it.

import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../../', import.meta.url));

/** Paths from the root. */
export const documents: readonly string[] = globSync(
  ['*.md', '{docs,k8s,docker,examples}/**/*.md', '{packages,apps,test}/*/README.md'],
  { cwd: root },
).toSorted();

export function read(document: string): string {
  return readFileSync(`${root}/${document}`, 'utf8');
}

/** The blocks of code in a language, in their order. */
export function blocks(document: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm');
  return [...read(document).matchAll(fence)].map(([, code = '']) => code);
}
