// The init containers' program, run as it lies in the image: beside packages/, on a real server.

import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { copyFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { createTestDatabase } from '@pulsebox/test-support';
import { beforeAll, expect, inject, onTestFinished, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pulsebox-image-root-'));
  copyFileSync(join(ROOT, 'docker', 'wait-for.mjs'), join(folder, 'wait-for.mjs'));
  symlinkSync(join(ROOT, 'packages'), join(folder, 'packages'));
  return () => rmSync(folder, { recursive: true, force: true });
});

function waitFor(args: readonly string[], databaseUrl: string): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'wait-for.mjs'), ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], DATABASE_URL: databaseUrl },
  });
  return { status, said: stdout + stderr };
}

test('passes once the database takes the credentials and has the schema', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  onTestFinished(() => database.drop());
  expect(waitFor(['postgres', '60'], database.url).status).toBe(0);
  expect(waitFor(['schema', '60'], database.url).status).toBe(0);
});

test('gives up on a schema that is not there, and says who should have made it', async () => {
  const database = await createTestDatabase(inject('serverUrl'), { migrated: false });
  onTestFinished(() => database.drop());
  expect(waitFor(['postgres', '60'], database.url).status).toBe(0);
  const { status, said } = waitFor(['schema', '3'], database.url);
  expect(status).toBe(1);
  expect(said).toMatch(/has the migration Job of this version run\?/);
});

test('does not take a port that answers for a session: a wrong password is refused, and no password is shown', () => {
  const url = new URL(inject('serverUrl'));
  url.password = 'not-the-password';
  const { status, said } = waitFor(['postgres', '3'], url.href);
  expect(status).toBe(1);
  expect(said).toMatch(/no session with PostgreSQL within 3 s/);
  expect(said).not.toMatch(/not-the-password/);
});

test('refuses a goal that it does not know', () => {
  expect(waitFor(['redis'], 'postgres://localhost/x').status).toBe(2);
});
