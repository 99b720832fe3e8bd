// What documents name of the repository is there: other documents, their headings, files to run, scripts of npm.

import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { documents, read, root } from './documents.ts';

test.each(documents)('the links of %s', (document) => {
  const broken = linksOf(document).filter((link) => !leadsSomewhere(document, link));
  expect(broken).toEqual([]);
});

test('the scripts of npm, and the files that commands run', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: object };
  const text = documents
    .filter((page) => page !== 'CHANGELOG.md')
    .map(read)
    .join('\n');
  const names = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name);
  expect(names).toContain('torture');
  expect(names.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  const files = [
    ...text.matchAll(/\b(?:npx vitest run|node) ((?:packages|apps|examples|scripts|test)\/[\w./-]+)/g),
  ].map(([, file = '']) => file.replace(/[./]$/, ''));
  expect(files).toContain('examples/mail-orders.ts');
  // A build is there only after `npm run build`, and the README of the loop's worker is to be saved as it says.
  const missing = files.filter((file) => !existsSync(join(root, file.replace(/\/dist$/, '/src'))));
  expect([...new Set(missing)]).toEqual(['examples/inbox.ts']);
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
