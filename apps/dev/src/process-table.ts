// Whether a process of ours still runs: a pid alone may belong to another program by now.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** @param partOfCommand something that its command line must contain */
export function isAlive(pid: number, partOfCommand: string): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return commandLine(pid).includes(partOfCommand);
}

/** Asks it to stop and waits until it has, or kills it. */
export async function stopProcess(
  pid: number,
  partOfCommand: string,
  signal: NodeJS.Signals,
  waitMs: number,
): Promise<void> {
  if (!isAlive(pid, partOfCommand)) return;
  process.kill(pid, signal);
  const deadline = performance.now() + waitMs;
  while (isAlive(pid, partOfCommand) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  if (isAlive(pid, partOfCommand)) process.kill(pid, 'SIGKILL');
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    // No /proc on this system.
    return spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout ?? '';
  }
}
