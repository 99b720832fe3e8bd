// A store of images in a folder of its own, and the two bases that stand in for a registry's: Debian with Node and npm to
// build with, and Node with the libraries it links to, and nothing else, to run on. The second one has no shell, so that
// whatever the image needs of one would fail here.

import { cpSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './tools.ts';

export class ImageStore {
  readonly folder: string;
  readonly #flags: readonly string[];

  constructor(folder: string) {
    this.folder = folder;
    this.#flags = ['--root', join(folder, 'images'), '--runroot', join(folder, 'run')];
  }

  async buildah(...args: readonly string[]): Promise<string> {
    const [command = '', ...rest] = args;
    return await run('buildah', [...this.#flags, command, ...rest], {
      env: { STORAGE_DRIVER: 'overlay', BUILDAH_ISOLATION: 'chroot' },
    });
  }

  /** Debian, the Node that runs this script, and its npm. */
  async makeBuildBase(name: string): Promise<void> {
    const debian = join(this.folder, 'debian.tar');
    await run('mmdebstrap', ['--variant=minbase', '--include=ca-certificates', 'bookworm', debian]);
    const container = await this.buildah('from', 'scratch');
    await this.buildah('add', '--quiet', container, debian, '/');
    await this.buildah('copy', '--quiet', container, realpathSync(process.execPath), '/usr/local/bin/node');
    await this.buildah('copy', '--quiet', container, await npmFolder(), '/usr/local/lib/node_modules/npm');
    await this.buildah(
      'run',
      container,
      '--',
      'ln',
      '-s',
      '../lib/node_modules/npm/bin/npm-cli.js',
      '/usr/local/bin/npm',
    );
    await this.buildah(
      'config',
      '--env',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      container,
    );
    // Where packages come through a proxy with a certificate of its own, npm must trust it inside as it does outside.
    const authority = process.env['NODE_EXTRA_CA_CERTS'];
    if (authority !== undefined) {
      await this.buildah('copy', '--quiet', container, authority, '/etc/authority.pem');
      await this.buildah('config', '--env', 'NODE_EXTRA_CA_CERTS=/etc/authority.pem', container);
    }
    await this.#commit(container, name);
  }

  async makeRuntimeBase(name: string): Promise<void> {
    const root = join(this.folder, 'runtime-root');
    for (const folder of ['usr/local/bin', 'etc', 'tmp', 'proc', 'dev', 'sys'])
      mkdirSync(join(root, folder), { recursive: true });
    const node = realpathSync(process.execPath);
    cpSync(node, join(root, 'usr/local/bin/node'));
    const libraries = (await run('ldd', [node])).matchAll(/\s(\/lib\S*)/g);
    for (const [, library = ''] of libraries) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      cpSync(realpathSync(library), join(root, library));
    }
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/nonexistent\n');
    const container = await this.buildah('from', 'scratch');
    await this.buildah('copy', '--quiet', container, root, '/');
    await this.buildah('config', '--env', 'PATH=/usr/local/bin', container);
    await this.#commit(container, name);
  }

  async #commit(container: string, name: string): Promise<void> {
    await this.buildah('commit', '--quiet', container, name);
    await this.buildah('rm', container);
  }
}

/** npm's own folder: `…/lib/node_modules/npm`. */
async function npmFolder(): Promise<string> {
  const cli = realpathSync(await run('which', ['npm']));
  return dirname(dirname(cli));
}
