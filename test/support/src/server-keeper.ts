// Runs a temporary database for as long as standard input stays open. Whatever ends the process that asked for it, a
// SIGKILL included, closes that pipe: no server and no data folder is left behind.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedServer } from '@pulsebox/postgres';
import { freePort } from './free-port.ts';

const settings = JSON.parse(process.argv[2] ?? '{}') as Record<string, string>;
// Ctrl-C in the terminal reaches this process too; it waits for the pipe all the same.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const folder = await mkdtemp(join(tmpdir(), 'pulsebox-server-'));
// Under root the server runs as another account, which must be able to enter.
await chmod(folder, 0o755);
const server = await startEmbeddedServer({
  dataDirectory: join(folder, 'data'),
  port: await freePort(),
  password: 'test',
  settings,
});
process.stdout.write(`${JSON.stringify({ url: server.url, pid: server.pid })}\n`);

await new Promise<void>((resolve) => {
  process.stdin
    .once('end', resolve)
    .once('error', () => resolve())
    .resume();
});
await server.stop();
await rm(server.dataDirectory, { recursive: true, force: true });
await rm(folder, { recursive: true, force: true });
