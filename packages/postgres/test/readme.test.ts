import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '@pulsebox/test-support';
import { expect, test } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));

test('what the README shows works as it stands', async () => {
  const readme = readFileSync(join(here, '../README.md'), 'utf8');
  const [, code = ''] = /^```ts\n(.*?)^```$/ms.exec(readme) ?? [];
  // Inside the repository, so that the code finds the package by its name, as a stranger's would.
  const folder = mkdtempSync(join(here, '.readme-'));
  try {
    writeFileSync(join(folder, 'try.ts'), code);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--conditions=source', join(folder, 'try.ts')],
      { env: { PATH: process.env['PATH'], PORT: String(await freePort()) }, encoding: 'utf8' },
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'reported under token 1\n', stderr: '' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
