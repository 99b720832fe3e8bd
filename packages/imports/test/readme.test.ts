import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { createTestDatabase } from '@pulsebox/test-support';
import { expect, inject, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 120_000 });

const here = fileURLToPath(new URL('.', import.meta.url));

test('what the README shows works as it stands', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  const readme = readFileSync(join(here, '../README.md'), 'utf8');
  const [, code = ''] = /^```ts\n(.*?)^```$/ms.exec(readme) ?? [];
  // Inside the repository, so that the code finds the packages by their names, as a stranger's would.
  const folder = mkdtempSync(join(here, '.readme-'));
  try {
    writeFileSync(join(folder, 'try.ts'), code);
    const child = spawn(process.execPath, ['--conditions=source', join(folder, 'try.ts')], {
      env: { PATH: process.env['PATH'], DATABASE_URL: database.url, TMPDIR: folder },
    });
    const [stdout, stderr, [status]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout:
        '1 created, 1 completed and left out, 1 failed\nline 3: expected item.name to be a text, got none\n',
      stderr: '',
    });
  } finally {
    rmSync(folder, { recursive: true });
    await database.drop();
  }
});
