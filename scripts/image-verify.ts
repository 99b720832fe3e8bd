// npm run image:verify [-- --once] [COMMIT]: builds the image as the Dockerfile says, without an engine and without a registry, and
// starts everything in it as a restricted pod would. Skipped, with the reason, where Debian's buildah and mmdebstrap are missing.
// Builds HEAD, or the commit, twice: the same commit must give the same layers. `--once`, as `npm run check` says it, saves the
// second time.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkContents, sizes } from './image/contents.ts';
import type { ImageConfig } from './image/container.ts';
import { ImageStore } from './image/store.ts';
import { checkWorkers } from './image/suite.ts';
import { run, whyNotHere } from './image/tools.ts';

const ROOT = join(import.meta.dirname, '..');
const { values: flags, positionals } = parseArgs({
  options: { once: { type: 'boolean', default: false } },
  allowPositionals: true,
});
/** What is built. What is not committed is not in it. */
const [REVISION = 'HEAD'] = positionals;

const reason = whyNotHere();
if (reason === undefined) await main();
else console.log(`image:verify is skipped: ${reason}`);

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pulsebox-image-'));
  const store = new ImageStore(folder);
  try {
    await verify(store);
  } finally {
    await store.buildah('rm', '--all').catch(() => undefined);
    await store.buildah('rmi', '--all', '--force').catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function verify(store: ImageStore): Promise<void> {
  if (!(await makeBases(store))) return;
  const context = await contextOf(store.folder);
  const commit = await run('git', ['rev-parse', REVISION], { cwd: ROOT });
  const time = await run('git', ['log', '-1', '--format=%ct', REVISION], { cwd: ROOT });
  const images: string[] = [];
  for (const tag of flags.once ? ['first'] : ['first', 'second']) {
    say(`building ${commit.slice(0, 12)}, the ${tag} time`);
    await build(store, { tag, context, commit, time });
    images.push(await diffIds(store, tag));
  }
  if (!flags.once) {
    expect(images[0] === images[1], `the same commit gave other layers: ${images.join(' against ')}`);
    say('the same layers both times');
  }

  const config = await inspect(store, 'first');
  expect(config.User === '10001:10001', `expected the user 10001:10001, got "${config.User}"`);
  expect(
    config.Labels['org.opencontainers.image.revision'] === commit,
    'the label of the revision is missing',
  );
  expect(
    config.Labels['org.opencontainers.image.version'] === '0.0.0-verify',
    'the label of the version is missing',
  );
  expect(config.Healthcheck !== undefined, 'the image has no HEALTHCHECK');

  const container = await store.buildah('from', 'first');
  const rootfs = await store.buildah('mount', container);
  for (const fault of checkContents(rootfs)) expect(false, fault);
  for (const line of sizes(rootfs)) say(line);
  for (const line of await checkWorkers({ folder: store.folder, rootfs, image: config })) say(line);
  await store.buildah('umount', container);
  say('every step of the Dockerfile ran, and the result does what it should');
}

/** False where there are the tools and no more: no packages of Debian to be had, or no mounts. Asked for by name, that is a fault. */
async function makeBases(store: ImageStore): Promise<boolean> {
  say('making the bases: Debian with Node and npm to build with, Node alone to run on');
  try {
    await store.makeBuildBase('node-build');
    await store.makeRuntimeBase('node-runtime');
    return true;
  } catch (error) {
    if (!flags.once) throw error;
    console.log(`image:verify is skipped: no base could be made here. ${String(error)}`);
    return false;
  }
}

/** What git has of the commit, with things in it that must not get into an image. */
async function contextOf(folder: string): Promise<string> {
  const context = join(folder, 'context');
  mkdirSync(join(context, 'apps', 'worker', 'dist'), { recursive: true });
  const archive = join(folder, 'head.tar');
  await run('git', ['archive', '--output', archive, REVISION], { cwd: ROOT });
  await run('tar', ['-xf', archive, '-C', context]);
  writeFileSync(join(context, '.env'), 'PASSWORD=intruder\n');
  writeFileSync(join(context, 'apps', 'worker', 'dist', 'intruder.js'), '');
  mkdirSync(join(context, 'node_modules', 'intruder'), { recursive: true });
  writeFileSync(join(context, 'node_modules', 'intruder', 'package.json'), '{}');
  return context;
}

interface Build {
  readonly tag: string;
  readonly context: string;
  readonly commit: string;
  /** Seconds since 1970, for every file. */
  readonly time: string;
}

async function build(store: ImageStore, { tag, context, commit, time }: Build): Promise<void> {
  const given = {
    NODE_IMAGE: 'localhost/node-build',
    RUNTIME_IMAGE: 'localhost/node-runtime',
    VERSION: '0.0.0-verify',
    REVISION: commit,
    CREATED: new Date(Number(time) * 1_000).toISOString(),
  };
  await store.buildah(
    'bud',
    '--layers',
    '--no-cache',
    '--format=docker',
    `--timestamp=${time}`,
    `--tag=${tag}`,
    ...Object.entries(given).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    context,
  );
}

async function diffIds(store: ImageStore, image: string): Promise<string> {
  const { Docker } = JSON.parse(await store.buildah('inspect', '--type', 'image', image)) as {
    Docker: { rootfs: { diff_ids: string[] } };
  };
  return Docker.rootfs.diff_ids.map((id) => id.slice('sha256:'.length, 20)).join(' ');
}

async function inspect(store: ImageStore, image: string): Promise<ImageConfig> {
  const { Docker } = JSON.parse(await store.buildah('inspect', '--type', 'image', image)) as {
    Docker: { config: ImageConfig };
  };
  return Docker.config;
}

function expect(holds: boolean, fault: string): void {
  if (!holds) throw new Error(`image:verify: ${fault}`);
}

function say(line: string): void {
  console.log(line);
}
