// Programs that the check of the image calls, and what to do where they are missing.

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian's packages of these names bring them. */
export const TOOLS = ['buildah', 'mmdebstrap'] as const;

/** Undefined: the check can run here. Otherwise a sentence that says why not, and how it could. */
export function whyNotHere(): string | undefined {
  if (process.platform !== 'linux') return 'it needs Linux';
  const missing = TOOLS.filter((tool) => !isOnPath(tool));
  if (missing.length > 0)
    return `${missing.join(', ')} missing; on Debian, \`apt-get install -y ${TOOLS.join(' ')}\` brings all of them`;
  if (process.getuid?.() !== 0) return 'it must run as root: it mounts file systems and starts containers';
  return undefined;
}

export function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Standard output, trimmed. @throws with what the program said, when it ends with another code than 0 */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await tryRun(program, args, options);
  if (code === 0) return stdout.trim();
  throw new Error(
    `${program} ${args.slice(0, 6).join(' ')} … ended with code ${code}:\n${tellingPart(stderr)}`,
  );
}

/** The first error and what follows it, and the end: npm, for one, explains its whole command line between the two. */
function tellingPart(text: string): string {
  if (text.length <= 4_000) return text;
  const first = Math.max(0, text.search(/^.*\berror\b/im));
  return `${text.slice(first, first + 2_500)}\n…\n${text.slice(-1_500)}`;
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function tryRun(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        said[stream] += text;
      });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...said }));
  });
}
