import { createTestDatabase, runReadme } from '@pulsebox/test-support';
import { expect, inject, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 120_000 });

test('what the README shows works as it stands', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  try {
    expect(await runReadme('packages/imports', { DATABASE_URL: database.url })).toEqual({
      status: 0,
      stdout:
        '1 created, 1 completed and left out, 1 failed\nline 3: expected item.name to be a text, got none\n',
      stderr: '',
    });
  } finally {
    await database.drop();
  }
});
