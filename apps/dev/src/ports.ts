// Ports: is one free, and which is.

import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

export async function isPortFree(port: number, host?: string): Promise<boolean> {
  return (await tryPort(port, host)) !== undefined;
}

/** The preferred port, or any other that is free. */
export async function freePort(preferred: number): Promise<number> {
  return (await tryPort(preferred, '127.0.0.1')) ?? (await tryPort(0, '127.0.0.1')) ?? preferred;
}

async function tryPort(port: number, host: string | undefined): Promise<number | undefined> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      const { port: taken } = server.address() as AddressInfo;
      server.close(() => resolve(taken));
    });
  });
}
