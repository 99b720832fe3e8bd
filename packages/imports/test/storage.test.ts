// Files lie below one directory. Whatever leads out of it is refused.

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStored, removeStored } from '../src/storage.ts';

let base: string;
let directory: string;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'pulsebox-storage-'));
  directory = join(base, 'files');
  await mkdir(join(directory, 'uploads'), { recursive: true });
  // Its name begins as that of the directory does.
  await mkdir(join(base, 'files-of-others'));
  await writeFile(join(base, 'secret'), 'secret');
  await writeFile(join(base, 'files-of-others', 'secret'), 'secret');
  await writeFile(join(directory, 'uploads', 'a.json'), '[]');
  await symlink(join(base, 'secret'), join(directory, 'link'));
  await symlink(join(base, 'files-of-others'), join(directory, 'others'));
  await symlink(join(directory, 'uploads', 'a.json'), join(directory, 'inner'));
  await symlink(join(directory, 'circle'), join(directory, 'circle'));
  execFileSync('mkfifo', [join(directory, 'pipe')]);
});
afterAll(async () => {
  await rm(base, { recursive: true });
});

test.each(['uploads/a.json', './uploads/a.json', 'uploads//a.json', 'inner'])(
  '%s is opened',
  async (path) => {
    const file = await openStored(directory, path);
    expect(file.bytes).toBe(2);
    await file.handle.close();
  },
);

test.each([
  ['../secret', 'FORBIDDEN'],
  ['uploads/../../secret', 'FORBIDDEN'],
  ['uploads\\..\\..\\secret', 'FORBIDDEN'],
  ['/etc/passwd', 'FORBIDDEN'],
  ['', 'FORBIDDEN'],
  ['.', 'FORBIDDEN'],
  ['uploads', 'FORBIDDEN'],
  ['a\0b', 'FORBIDDEN'],
  ['link', 'FORBIDDEN'],
  ['others/secret', 'FORBIDDEN'],
  ['pipe', 'FORBIDDEN'],
  ['circle', 'MISSING'],
  ['nothing', 'MISSING'],
  ['uploads/a.json/b', 'MISSING'],
  ['x'.repeat(5_000), 'MISSING'],
])('%j is refused: %s', async (path, code) => {
  await expect(openStored(directory, path)).rejects.toMatchObject({
    code: expect.stringMatching(code) as string,
  });
});

test('a directory that is itself a link is one', async () => {
  await symlink(directory, join(base, 'mount'));
  const file = await openStored(join(base, 'mount'), 'uploads/a.json');
  await file.handle.close();
});

test('what is removed lies below the directory; a link is removed, and not what it leads to', async () => {
  await removeStored(directory, 'nothing');
  await removeStored(directory, 'no/folder');
  await expect(removeStored(directory, '../secret')).rejects.toMatchObject({
    code: 'IMPORTS_PATH_FORBIDDEN',
  });
  await expect(removeStored(directory, 'others/secret')).rejects.toMatchObject({
    code: 'IMPORTS_PATH_FORBIDDEN',
  });
  await removeStored(directory, 'link');
  expect(await readdir(directory)).not.toContain('link');
  expect(await readdir(base)).toContain('secret');
  expect(await readdir(join(base, 'files-of-others'))).toEqual(['secret']);
});
