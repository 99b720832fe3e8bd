// What documents show of SQL runs, and what they show of TypeScript compiles. Whole programs are run by tests of their packages.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTestDatabase } from '@pulsebox/test-support';
import { expect, inject, onTestFinished, test } from 'vitest';
import { blocks, documents, root } from './documents.ts';

/** The page on projections is run by packages/search, and its blocks need each other. */
const pagesWithSql = documents.filter(
  (page) =>
    (page === 'README.md' || page.startsWith('docs/')) &&
    page !== 'docs/projections.md' &&
    blocks(page, 'sql').length > 0,
);

test.each(pagesWithSql)('the SQL of %s runs', async (page) => {
  const database = await createTestDatabase(inject('serverUrl'));
  onTestFinished(() => database.drop());
  for (const sql of blocks(page, 'sql')) {
    await database.pool.query(sql.replaceAll(/[0-9a-f-]*…/g, '0b7e3c1e-93d1-4a53-9ad4-0d52a2b3a7c5'));
  }
});

/** Of fragments: what stands before them in an application. */
const AROUND = `
declare global {
  const pool: import('pg').Pool;
  const client: import('pg').PoolClient;
  const holder: string;
  const id: string;
  const name: string;
  const registry: import('@pulsebox/loop').Registry;
  const outbox: ReturnType<typeof import('@pulsebox/worker-base').openLog>;
  const recordNotifications: typeof import('@pulsebox/gmail').recordNotifications;
}
export {};
`;

test('the TypeScript of all documents compiles, but for sketches with something left out', () => {
  // Inside the repository, so that the code finds the packages by their names.
  const folder = mkdtempSync(join(root, 'test/docs/.snippets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const snippets = documents.flatMap((page) =>
    blocks(page, 'ts')
      .filter((code) => !code.includes('…'))
      .map((code, index) => ({ file: `${page.replaceAll(/\W+/g, '-')}-${index}.ts`, code })),
  );
  expect(snippets.length).toBeGreaterThan(5);
  for (const { file, code } of snippets) writeFileSync(join(folder, file), `${code}\nexport {};\n`);
  writeFileSync(join(folder, 'around.d.ts'), AROUND);
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../../tsconfig.test.json',
      // What a page shows and does not go on to use is no fault of it.
      compilerOptions: { noUnusedLocals: false },
      include: ['*'],
    }),
  );
  const tsc = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' });
  expect(tsc.stdout).toBe('');
  expect(tsc.status).toBe(0);
});
