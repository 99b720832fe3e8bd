// What a package's README shows, run as a stranger would who copied it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The blocks of code of a package's README that are in the language, in their order. */
export function readmeBlocks(room: string, language: string): string[] {
  const readme = readFileSync(join(root, room, 'README.md'), 'utf8');
  const block = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms');
  return [...readme.matchAll(block)].map(([, code = '']) => code);
}

/** A folder inside the repository, so that code in it finds the packages by their names, as a stranger's would. */
export function readmeFolder(room: string): string {
  return mkdtempSync(join(root, room, 'test/.readme-'));
}

export interface ReadmeRun {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the first block of TypeScript to its end, in a bare environment. What it writes under TMPDIR goes with it. */
export async function runReadme(room: string, env: Readonly<Record<string, string>>): Promise<ReadmeRun> {
  const folder = readmeFolder(room);
  try {
    const file = join(folder, 'try.ts');
    writeFileSync(file, readmeBlocks(room, 'ts')[0] ?? '');
    const child = spawn(process.execPath, ['--conditions=source', file], {
      env: { PATH: process.env['PATH'], TMPDIR: folder, ...env },
    });
    const [stdout, stderr, [status]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number | null]>,
    ]);
    return { status, stdout, stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
