import { createTestDatabase, runReadme } from '@pulsebox/test-support';
import { expect, inject, test } from 'vitest';

test('what the README shows works as it stands', async () => {
  const database = await createTestDatabase(inject('serverUrl'), { migrated: false });
  try {
    expect(await runReadme('packages/jobs', { DATABASE_URL: database.url })).toEqual({
      status: 0,
      stdout: '1 job, report of 2026-11\n',
      stderr: '',
    });
  } finally {
    await database.drop();
  }
});
