// Links between documents lead somewhere.

import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { documents, read, root } from './documents.ts';

test.each(documents)('the links of %s', (document) => {
  const broken = linksOf(document).filter((link) => !leadsSomewhere(document, link));
  expect(broken).toEqual([]);
});

function linksOf(document: string): string[] {
  const prose = read(document)
    .replaceAll(/^ *```[^]*?^ *```$/gm, '')
    .replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link));
}

function leadsSomewhere(document: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? document : join(dirname(document), path);
  if (!existsSync(join(root, target))) return false;
  if (anchor === undefined || anchor === '') return true;
  return statSync(join(root, target)).isFile() && anchorsOf(target).includes(anchor);
}

/** As the forges make them of headings: lower case, hyphens for blanks, nothing else but letters, digits and `_`. */
function anchorsOf(document: string): string[] {
  return [...read(document).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
