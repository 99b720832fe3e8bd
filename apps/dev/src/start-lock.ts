// One `npm start` at a time: two that make, or take for abandoned, the same database would break it for each other.

import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { checkout } from './checkout.ts';
import { isAlive } from './process-table.ts';

export type StartLock =
  | { readonly claimed: true; release(): Promise<void> }
  | { readonly claimed: false; readonly holderPid: number };

/** Claims this checkout's state for this process. A claim whose process was killed is void. */
export async function claimStart(): Promise<StartLock> {
  const own = `${checkout.startLock}.${process.pid}`;
  await mkdir(dirname(own), { recursive: true });
  await writeFile(own, `${process.pid}\n`);
  try {
    for (;;) {
      // Linked when it is written: whoever finds the lock finds a pid in it.
      const taken = await link(own, checkout.startLock).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return false;
          throw error;
        },
      );
      if (taken) return { claimed: true, release: () => rm(checkout.startLock, { force: true }) };
      const holderPid = await holderOf(checkout.startLock);
      if (holderPid === undefined) continue;
      if (isAlive(holderPid, 'start.')) return { claimed: false, holderPid };
      await discard(holderPid);
    }
  } finally {
    await rm(own, { force: true });
  }
}

/** Moved before it is removed: of two who find the same dead holder, the slower must not remove the quicker one's. */
async function discard(deadPid: number): Promise<void> {
  const aside = `${checkout.startLock}.void.${process.pid}`;
  await rename(checkout.startLock, aside).catch(() => undefined);
  if ((await holderOf(aside)) !== deadPid) await link(aside, checkout.startLock).catch(() => undefined);
  await rm(aside, { force: true });
}

/** undefined: there is no such file. 0: it holds no pid. */
async function holderOf(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : Number.parseInt(text, 10) || 0;
}
