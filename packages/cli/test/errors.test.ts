import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cliErrorCodes } from '../src/cli-error.ts';

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const docs = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const section = docs.split(/^## /m).find((part) => part.startsWith('packages/cli\n')) ?? '';
  const explained = [...section.matchAll(/^### `(\w+)`$/gm)].map(([, code = '']) => code);
  expect(explained).toEqual([...cliErrorCodes]);
});

test('every code is used', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'cli-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'))
    .join('\n');
  for (const code of cliErrorCodes) expect(sources).toContain(`'${code}'`);
});
