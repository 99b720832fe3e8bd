import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@pulsebox/test-support';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runningServerPid, startEmbeddedServer } from '../src/embedded-server.ts';
import type { EmbeddedServer } from '../src/embedded-server.ts';

let folder: string;
let data: string;
let port: number;
const servers: EmbeddedServer[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pulsebox-embedded-'));
  // As `/tmp` itself: the server's account has to reach its folder when root runs this.
  data = join(folder, 'data');
  port = await freePort();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  for (const reached of reachedFolders) await rm(reached, { recursive: true, force: true });
});

/** Under root data may be elsewhere, and has to be removed there. */
const reachedFolders = new Set<string>();

async function start(options: { dataDirectory?: string; port?: number } = {}): Promise<EmbeddedServer> {
  const server = await startEmbeddedServer({
    dataDirectory: data,
    port,
    password: 'p@ss/word',
    settings: { fsync: 'off' },
    ...options,
  });
  servers.push(server);
  reachedFolders.add(server.dataDirectory);
  return server;
}

async function ask<T extends pg.QueryResultRow>(server: EmbeddedServer, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

test('starts in a folder that is not there, and finds its data again', async () => {
  const first = await start();
  expect(first.created).toBe(true);
  await ask(first, `create table kept as select 'here' as text`);
  expect(await runningServerPid(data)).toBe(first.pid);
  await first.stop();
  await first.stop();
  await first.exited;
  expect(await runningServerPid(data)).toBeUndefined();
  const second = await start();
  expect(second.created).toBe(false);
  expect(await ask(second, 'select text from kept')).toEqual([{ text: 'here' }]);
});

test('comes up after a crash, with what was committed', async () => {
  const server = await start();
  await ask(server, `create table committed as select 1 as n`);
  await server.kill();
  await server.stop();
  expect(await ask(await start(), 'select n from committed')).toEqual([{ n: 1 }]);
});

test('listens on 127.0.0.1 only, and asks for the password', async () => {
  const server = await start();
  const [settings] = await ask<{ listen: string; sockets: string }>(
    server,
    `select current_setting('listen_addresses') as listen, current_setting('unix_socket_directories') as sockets`,
  );
  expect(settings).toEqual({ listen: '127.0.0.1', sockets: '' });
  const url = new URL(server.url);
  url.password = 'wrong';
  const client = new pg.Client({ connectionString: url.href });
  await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
});

test('refuses a folder on which a server runs, and leaves that one alone', async () => {
  const server = await start();
  await expect(start({ port: await freePort() })).rejects.toMatchObject({
    code: 'POSTGRES_EMBEDDED_RUNNING',
    hint: `stop it first: kill -INT ${server.pid}`,
  });
  expect(await ask(server, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('clears a pid file whose process is gone, or is another program by now', async () => {
  const { dataDirectory, stop } = await start();
  await stop();
  const gone = spawn('true');
  await once(gone, 'exit');
  for (const pid of [gone.pid, process.pid]) {
    await writeFile(join(dataDirectory, 'postmaster.pid'), `${pid}\n${dataDirectory}\n0\n${port}\n`);
    expect(await runningServerPid(data)).toBeUndefined();
    const server = await start();
    expect(await ask(server, 'select 1 as one')).toEqual([{ one: 1 }]);
    await server.stop();
  }
});

test('names a port that is taken, in the words of the server', async () => {
  const taken = createServer();
  taken.listen(port, '127.0.0.1');
  await once(taken, 'listening');
  try {
    await expect(start()).rejects.toMatchObject({
      code: 'POSTGRES_EMBEDDED_FAILED',
      message: expect.stringContaining('Address already in use'),
    });
  } finally {
    taken.close();
    await once(taken, 'close');
  }
  expect(await ask(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('refuses data of another major version, and does not touch it', async () => {
  const { dataDirectory, stop } = await start();
  await stop();
  await writeFile(join(dataDirectory, 'PG_VERSION'), '15\n');
  await expect(start()).rejects.toMatchObject({
    code: 'POSTGRES_EMBEDDED_VERSION',
    message: `${dataDirectory} was written by PostgreSQL 15, expected 18`,
  });
  await writeFile(join(dataDirectory, 'PG_VERSION'), '18\n');
  expect(await ask(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('neither uses nor clears a folder with something else in it', async () => {
  const { dataDirectory } = await start();
  // Beside the first, which is where the server's account can go.
  const own = join(dataDirectory, '..', `${crypto.randomUUID()}-own`);
  await mkdir(own);
  reachedFolders.add(own);
  await writeFile(join(own, 'thesis.txt'), 'ten years of work');
  await expect(start({ dataDirectory: own, port: await freePort() })).rejects.toMatchObject({
    code: 'POSTGRES_EMBEDDED_FAILED',
    message: expect.stringContaining('got one with other files'),
  });
  expect(await readdir(own)).toEqual(['thesis.txt']);
  expect(await readFile(join(own, 'thesis.txt'), 'utf8')).toBe('ten years of work');
});

test('makes its data beside the folder, so that a first start cut short is no data folder', async () => {
  const { dataDirectory } = await start();
  const fresh = join(dataDirectory, '..', `${crypto.randomUUID()}-fresh`);
  reachedFolders.add(fresh);
  await mkdir(`${fresh}.unfinished`);
  await writeFile(join(`${fresh}.unfinished`, 'PG_VERSION'), '18\n');
  // What a kill during initdb leaves: it is nowhere but here.
  await writeFile(join(`${fresh}.unfinished`, 'password'), 'secret\n', { mode: 0o600 });
  const server = await start({ dataDirectory: fresh, port: await freePort() });
  expect(server.created).toBe(true);
  await expect(readdir(`${fresh}.unfinished`)).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await ask(server, 'select 1 as one')).toEqual([{ one: 1 }]);
});
