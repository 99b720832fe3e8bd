// Runs the image as a pod with the restricted profile would: its own user, no capability, no new privileges, a root file
// system that nobody can write to, and a /tmp in memory. With the network of this machine.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, tryRun } from './tools.ts';
import type { Outcome } from './tools.ts';

/** What the image says about itself, as `buildah inspect` gives it. */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly WorkingDir: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Healthcheck?: { readonly Test: readonly string[] };
}

export interface ContainerOptions {
  readonly name: string;
  readonly folder: string;
  readonly rootfs: string;
  readonly image: ImageConfig;
  /** In the place of the image's CMD. */
  readonly args?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export class Container {
  readonly name: string;
  readonly #bundle: string;
  readonly #state: string;
  #process: ChildProcess | undefined;
  #output = '';
  #exit: Promise<number | null> | undefined;

  constructor(options: ContainerOptions) {
    this.name = options.name;
    this.#bundle = join(options.folder, options.name);
    this.#state = join(options.folder, 'state');
    mkdirSync(this.#bundle, { recursive: true });
    mkdirSync(this.#state, { recursive: true });
    writeFileSync(join(this.#bundle, 'config.json'), JSON.stringify(specification(options), undefined, 2));
  }

  get output(): string {
    return this.#output;
  }

  start(): void {
    const child = spawn('crun', this.#args('run', '--bundle', this.#bundle, this.name), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
      });
    this.#process = child;
    this.#exit = new Promise((resolve) => {
      child.once('close', resolve);
    });
  }

  async exited(): Promise<number | null> {
    return (await this.#exit) ?? null;
  }

  /** A command inside, as a probe of the kind `exec` runs it. */
  async exec(...command: readonly string[]): Promise<Outcome> {
    return await tryRun('crun', this.#args('exec', this.name, ...command));
  }

  /** To process 1, which is tini. */
  async signal(name: string): Promise<void> {
    await run('crun', this.#args('kill', this.name, name));
  }

  /** The most memory that the processes of the container have had, in MiB: of process 1's child, which is Node. */
  async peakMemoryMib(): Promise<number> {
    const { pid } = JSON.parse(await run('crun', this.#args('state', this.name))) as { pid: number };
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/);
    const status = readFileSync(`/proc/${children[0]}/status`, 'utf8');
    return Math.ceil(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1_024);
  }

  /** Idempotent, and good for one that never started. */
  async remove(): Promise<void> {
    if (this.#process === undefined) return;
    await tryRun('crun', this.#args('delete', '--force', this.name));
    await this.#exit;
  }

  #args(...args: readonly string[]): string[] {
    return ['--root', this.#state, '--cgroup-manager', 'disabled', ...args];
  }
}

function specification({ name, rootfs, image, args, env }: ContainerOptions): object {
  const [uid = 0, gid = 0] = image.User.split(':').map(Number);
  const nothing = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid, gid },
      args: [...image.Entrypoint, ...(args ?? image.Cmd)],
      env: [...image.Env, ...Object.entries(env).map(([key, value]) => `${key}=${value}`)],
      cwd: image.WorkingDir,
      capabilities: nothing,
      noNewPrivileges: true,
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 65_536, soft: 65_536 }],
    },
    root: { path: rootfs, readonly: true },
    hostname: name,
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      {
        destination: '/tmp',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'nodev', 'mode=1777', 'size=16m'],
      },
    ],
    linux: { namespaces: ['pid', 'mount', 'ipc', 'uts'].map((type) => ({ type })) },
  };
}
