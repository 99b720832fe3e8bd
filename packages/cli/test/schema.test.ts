import { expect, test } from 'vitest';
import { allMigrations as ofStart } from '../../../apps/dev/src/schema.ts';
import { allMigrations as ofTests } from '../../../test/support/src/template-database.ts';
import { allMigrations } from '../src/schema.ts';

test('npm start and the databases of tests hold what pulsebox migrate applies, in its order', async () => {
  expect(ofStart).toEqual(allMigrations);
  expect(await ofTests()).toEqual(allMigrations);
});
