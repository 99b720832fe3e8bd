import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { pulsebox } from './pulsebox.ts';

let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  folder = await mkdtemp(join(tmpdir(), 'pulsebox-cli-'));
});

afterAll(async () => {
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

function urlWith(
  change: Partial<Pick<URL, 'password' | 'pathname' | 'port' | 'hostname' | 'username' | 'search'>>,
): string {
  return Object.assign(new URL(database.url), change).href;
}

/** A process that lives for as long as the test wants it to. */
async function withProcess<T>(work: (pid: number) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1e6)'], { stdio: 'ignore' });
  try {
    return await work(child.pid ?? 0);
  } finally {
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
  }
}

async function writeRunFile(content: unknown): Promise<string> {
  const inner = join(folder, 'a', 'b');
  await mkdir(inner, { recursive: true });
  await mkdir(join(folder, '.pulsebox'), { recursive: true });
  await writeFile(
    join(folder, '.pulsebox', 'run.json'),
    typeof content === 'string' ? content : JSON.stringify(content),
  );
  return inner;
}

describe('a database that does not answer', () => {
  test.each<[string, () => string, number, RegExp]>([
    ['a wrong password', () => urlWith({ password: 'wrong' }), 2, /the password is wrong/],
    ['no password', () => urlWith({ password: '' }), 2, /wants a password, and none was given/],
    [
      'an unknown role',
      () => urlWith({ username: 'nobody_here' }),
      2,
      /the password is wrong|does not let this role in/,
    ],
    ['an unknown database', () => urlWith({ pathname: '/no_such_database' }), 2, /no such database/],
    ['a port where nothing listens', () => urlWith({ port: '1' }), 3, /nothing listens there/],
    ['an unknown host', () => urlWith({ hostname: 'no-such-host.invalid' }), 3, /host name/],
    ['a server without TLS', () => urlWith({ search: '?sslmode=require' }), 2, /TLS failed/],
  ])('tells %s apart', async (_case, url, code, said) => {
    const ran = await pulsebox(['groups'], { env: { DATABASE_URL: url() } });
    expect(ran.stderr).toMatch(said);
    expect(ran).toMatchObject({ code, stdout: '' });
    expect(ran.stderr).toContain('hint: ');
    expect(ran.stderr).not.toContain('test@');
  });

  test('gives up on a server that accepts and says nothing', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const sockets: { destroy(): void }[] = [];
    silent.on('connection', (socket) => sockets.push(socket));
    const { port } = silent.address() as AddressInfo;
    const ran = await pulsebox(['groups'], { env: { DATABASE_URL: urlWith({ port: String(port) }) } });
    expect(ran.code).toBe(3);
    expect(ran.stderr).toContain('did not answer in time');
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });

  test('says that an empty database lacks the tables', async () => {
    const empty = await createTestDatabase(inject('serverUrl'), { migrated: false });
    try {
      for (const args of [['groups'], ['emit', 't', '{}'], ['search', 'x']]) {
        const ran = await pulsebox(args, { env: { DATABASE_URL: empty.url } });
        expect(ran).toMatchObject({ code: 2, stdout: '' });
        expect(ran.stderr).toContain('pulsebox migrate');
      }
      const status = await pulsebox(['status'], { env: { DATABASE_URL: empty.url } });
      expect(status.code).toBe(2);
      expect(status.stdout).toMatch(/migrations pending: run pulsebox migrate/);
    } finally {
      await empty.drop();
    }
  });
});

describe('finding the database', () => {
  test('takes POSTGRES_HOST and its companions', async () => {
    const { hostname, port, username, password } = new URL(database.url);
    const env = {
      POSTGRES_HOST: hostname,
      POSTGRES_PORT: port,
      POSTGRES_DB: database.name,
      POSTGRES_USER: username,
      POSTGRES_PASSWORD: password,
    };
    expect(await pulsebox(['groups', '--json'], { env })).toMatchObject({ code: 0, stdout: '[]\n' });
  });

  test('reports every fault of the variables at once', async () => {
    const ran = await pulsebox(['groups'], { env: { DATABASE_URL: 'mysql://x', POSTGRES_PORT: 'many' } });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('expected DATABASE_URL to be');
    expect(ran.stderr).toContain('expected POSTGRES_PORT to be a port from 0 to 65535, got "many"');
  });

  test('finds that of a running npm start, in the folders above, and says so', async () => {
    await withProcess(async (supervisorPid) => {
      const cwd = await writeRunFile({ supervisorPid, databaseUrl: database.url, workers: [] });
      const ran = await pulsebox(['groups', '--json'], { cwd });
      expect(ran).toMatchObject({ code: 0, stdout: '[]\n' });
      expect(ran.stderr).toBe(
        `using the database of the running npm start: ${new URL(database.url).host}/${database.name}\n`,
      );
    });
  });

  test('finds that of an npm start with a state folder of its own, and no other', async () => {
    await withProcess(async (supervisorPid) => {
      const cwd = await writeRunFile({ supervisorPid, databaseUrl: database.url, workers: [] });
      const state = join(folder, '.pulsebox');
      for (const PULSEBOX_STATE of [state, join('..', '..', '.pulsebox')]) {
        const ran = await pulsebox(['groups', '--json'], { cwd, env: { PULSEBOX_STATE } });
        expect(ran).toMatchObject({ code: 0, stdout: '[]\n' });
      }
      const elsewhere = await pulsebox(['groups'], { cwd, env: { PULSEBOX_STATE: join(folder, 'other') } });
      expect(elsewhere.code).toBe(2);
      expect(elsewhere.stderr).toContain('PULSEBOX_STATE');
    });
  });

  test('asks the workers of that npm start', async () => {
    await withProcess(async (supervisorPid) => {
      const workers = [{ name: 'worker', healthUrl: 'http://127.0.0.1:1/health' }];
      const cwd = await writeRunFile({ supervisorPid, databaseUrl: database.url, workers });
      const ran = await pulsebox(['status', '--json'], { cwd });
      expect(ran.json<{ workers: unknown[] }>().workers).toEqual([
        expect.objectContaining({ ...workers[0], status: 'off' }),
      ]);
    });
  });

  test('prefers DATABASE_URL', async () => {
    await withProcess(async (supervisorPid) => {
      const cwd = await writeRunFile({
        supervisorPid,
        databaseUrl: 'postgres://a:b@127.0.0.1:1/x',
        workers: [],
      });
      const ran = await pulsebox(['groups', '--json'], { cwd, env: { DATABASE_URL: database.url } });
      expect(ran).toMatchObject({ code: 0, stdout: '[]\n', stderr: '' });
    });
  });

  test('passes over one whose npm start is gone, and names the three ways', async () => {
    const gone = await withProcess((pid) => Promise.resolve(pid));
    const cwd = await writeRunFile({ supervisorPid: gone, databaseUrl: database.url, workers: [] });
    const ran = await pulsebox(['groups'], { cwd });
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(`process ${gone}, is gone`);
    for (const way of ['DATABASE_URL', 'POSTGRES_HOST', 'npm start']) expect(ran.stderr).toContain(way);
  });

  test.each(['not json', '{}', '{"supervisorPid": "1", "databaseUrl": 2}'])(
    'refuses a run file that reads %s',
    async (content) => {
      const cwd = await writeRunFile(content);
      const ran = await pulsebox(['groups'], { cwd });
      expect(ran.code).toBe(2);
      expect(ran.stderr).toContain('to be what `npm start` writes');
    },
  );
});
