// Runs the image as a pod with the restricted profile would: its own user, no capability, no new privileges, a root file
// system that nobody can write to, and a /tmp in memory. With the network of this machine, and by the tools of util-linux:
// a container engine wants control groups, which a machine that builds may not hand out.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryRun } from './tools.ts';
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

/** Runs as process 1 of a PID namespace. $1 root file system, $2 where to mount it, $3 user, $4 group, $5 folder, then the command. */
const ENTER = `
  set -e
  /bin/mount --bind "$1" "$2"
  /bin/mount -o remount,bind,ro "$2"
  /bin/mount -t proc proc "$2/proc"
  /bin/mount -t tmpfs -o nosuid,nodev,size=16m,mode=1777 tmpfs "$2/tmp"
  root=$2; user=$3; group=$4; folder=$5; shift 5
  exec /usr/bin/setpriv --no-new-privs /usr/bin/unshare --root="$root" --wd="$folder" --setuid="$user" --setgid="$group" -- "$@"`;

export class Container {
  readonly name: string;
  readonly #options: ContainerOptions;
  #process: ChildProcess | undefined;
  #output = '';
  #exit: Promise<number | null> | undefined;

  constructor(options: ContainerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get output(): string {
    return this.#output;
  }

  start(): void {
    const { name, folder, rootfs, image, args, env } = this.#options;
    const mountpoint = join(folder, `root-of-${name}`);
    mkdirSync(mountpoint, { recursive: true });
    const command = [...image.Entrypoint, ...(args ?? image.Cmd)];
    const child = spawn(
      '/usr/bin/unshare',
      [
        '--mount',
        '--pid',
        '--ipc',
        '--uts',
        '--fork',
        '--kill-child',
        '--propagation=private',
        '--',
        '/bin/sh',
        '-c',
        ENTER,
        name,
        rootfs,
        mountpoint,
        ...image.User.split(':'),
        image.WorkingDir,
        ...command,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...environmentOf(image), ...env } },
    );
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
    const { image, env } = this.#options;
    const [uid = '', gid = ''] = image.User.split(':');
    return await tryRun(
      '/usr/bin/nsenter',
      [
        `--target=${this.#init()}`,
        '--mount',
        '--pid',
        '--root',
        '--wd',
        '--setuid',
        uid,
        '--setgid',
        gid,
        ...command,
      ],
      { env: { ...environmentOf(image), ...env } },
    );
  }

  /** To process 1, which is tini. */
  signal(name: NodeJS.Signals): void {
    process.kill(this.#init(), name);
  }

  /** The most memory that Node, the child of process 1, has had at once, in MiB. */
  peakMemoryMib(): number {
    const [node] = childrenOf(this.#init());
    return Math.ceil(Number(this.#status(node, /VmHWM:\s+(\d+)/)) / 1_024);
  }

  /** What Node may do beyond its user's rights: none of it, in hexadecimal. */
  capabilities(): string | undefined {
    const [node] = childrenOf(this.#init());
    return this.#status(node, /CapEff:\s+(\S+)/);
  }

  /** Idempotent, and good for one that never started. */
  async remove(): Promise<void> {
    if (this.#process === undefined) return;
    // With process 1 of their namespace all others in it end.
    this.#process.kill('SIGKILL');
    await this.#exit;
  }

  #init(): number {
    const [init] = childrenOf(this.#process?.pid ?? 0);
    if (init === undefined) throw new Error(`${this.name} does not run:\n${this.#output}`);
    return init;
  }

  #status(pid: number | undefined, field: RegExp): string | undefined {
    return field.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  }
}

function environmentOf(image: ImageConfig): Record<string, string> {
  return Object.fromEntries(
    image.Env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map(Number);
}
