// A TCP port that nobody listens on at present, and that nobody is likely to take before it is used.

import { createServer } from 'node:net';

/**
 * Below the ports that systems hand out by themselves, to clients and to servers that leave the choice to them (32768 and
 * up on Linux). One of those would be gone again now and then before the program it was meant for has started.
 */
const FIRST = 10_000;
const COUNT = 20_000;

/** Processes that run side by side begin far from each other; none asks for the same port twice. */
let next = (process.pid * 211) % COUNT;

export async function freePort(): Promise<number> {
  for (let tried = 0; tried < COUNT; tried += 1) {
    const port = FIRST + next;
    next = (next + 1) % COUNT;
    if (await isFree(port)) return port;
  }
  throw new Error(`no port from ${FIRST} to ${FIRST + COUNT - 1} is free`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  await new Promise((resolve) => server.close(resolve));
  return free;
}
