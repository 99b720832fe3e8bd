// The CronJob's own command on a real server, and what it wrote restored into another, where the log is read on. Skipped where
// PostgreSQL's programs of Debian are missing.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPool } from '@pulsebox/postgres';
import { debianPostgresInstalled, runProgram, startDebianServer } from '@pulsebox/test-support';
import { expect, onTestFinished, test } from 'vitest';
import { podsOf } from '../../scripts/k8s/manifest.ts';
import { parse } from '../../scripts/k8s/render.ts';
import { K8S } from '../../scripts/k8s/targets.ts';
import { commandOf, textOf } from './documented.ts';

const BIN = '/usr/lib/postgresql/15/bin';

test.skipIf(!debianPostgresInstalled)(
  'a dump of the CronJob restores into another cluster, and what was not delivered is delivered there',
  { timeout: 600_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pulsebox-backup-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const source = await startDebianServer();
    onTestFinished(() => source.stop());
    const target = await startDebianServer();
    onTestFinished(() => target.stop());

    await run('packages/cli/src/main.ts', ['migrate'], source.url);
    await sql(source.url, `select outbox.emit('note.saved', '{}') from generate_series(1, 5)`);
    await run('apps/worker/src/index.ts', [], source.url);
    await sql(source.url, `select outbox.emit('note.saved', '{}') from generate_series(1, 3)`);

    // Eight are there then: the oldest goes.
    for (let day = 1; day <= 7; day += 1) {
      const path = join(folder, `pulsebox-2020010${day}T021700Z.dump`);
      writeFileSync(path, '');
      utimesSync(path, day * 86_400, day * 86_400);
    }
    backup(source.url, folder);
    const dumps = readdirSync(folder).toSorted();
    expect(dumps).toHaveLength(7);
    expect(dumps).not.toContain('pulsebox-20200101T021700Z.dump');
    expect(dumps.some((name) => name.endsWith('.part'))).toBe(false);

    // As docs/operations/restore.md says.
    const [, createRole = ''] = /`(create role outbox_emitter[^`]*)`/.exec(textOf('restore.md')) ?? [];
    await sql(target.url, createRole);
    shown('createdb', target.url, {});
    shown('pg_restore', target.url, {
      'pulsebox-20261121T021700Z.dump': join(folder, dumps.at(-1) ?? ''),
    });
    const restored = new URL(target.url);
    restored.pathname = '/pulsebox';
    await run('packages/cli/src/main.ts', ['migrate', '--check'], restored.href);
    await sql(restored.href, `select outbox.emit('note.saved', '{}')`);
    await run('apps/worker/src/index.ts', [], restored.href);
    const groups = JSON.parse(await run('packages/cli/src/main.ts', ['groups', '--json'], restored.href)) as {
      group: string;
      lag: number;
      delivered: number;
    }[];
    expect(groups.find(({ group }) => group === 'search')).toMatchObject({ lag: 0, delivered: 9 });
  },
);

test.skipIf(!debianPostgresInstalled)(
  'a dump that fails leaves no file under its name, and the old ones alone',
  { timeout: 600_000 },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'pulsebox-backup-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, 'pulsebox-20200101T021700Z.dump'), 'old');
    expect(() => backup('postgres://postgres@127.0.0.1:9/postgres', folder)).toThrow(/connection/);
    expect(readdirSync(folder).filter((name) => name.endsWith('.dump'))).toEqual([
      'pulsebox-20200101T021700Z.dump',
    ]);
  },
);

/** Runs what the CronJob runs, with the environment that it is given. @throws what was said, when it fails */
function backup(url: string, folder: string): void {
  const manifests = parse(readFileSync(join(K8S, 'components', 'backup', 'backup.yaml'), 'utf8'));
  const [container] = podsOf(manifests).flatMap(({ spec }) => spec.containers);
  const [shell = '', ...flags] = container?.command ?? [];
  const { hostname, port, pathname, username } = new URL(url);
  const { status, stderr } = spawnSync(shell, [...flags, ...(container?.args ?? [])], {
    encoding: 'utf8',
    env: {
      PATH: `${BIN}:/usr/bin:/bin`,
      BACKUP_FOLDER: folder,
      PGHOST: hostname,
      PGPORT: port,
      PGDATABASE: pathname.slice(1),
      PGUSER: username,
    },
  });
  if (status !== 0) throw new Error(stderr);
}

/** Runs the command of restore.md that begins so, against the server. @throws what was said, when it fails */
function shown(beginning: string, url: string, fill: Readonly<Record<string, string>>): void {
  const [program = '', ...args] = commandOf('restore.md', beginning, fill);
  const { hostname, port, username } = new URL(url);
  const { status, stderr } = spawnSync(join(BIN, program), args, {
    encoding: 'utf8',
    env: { PATH: BIN, PGHOST: hostname, PGPORT: port, PGUSER: username },
  });
  if (status !== 0 || stderr !== '') throw new Error(`${program} ended with code ${status}: ${stderr}`);
}

async function run(entry: string, args: readonly string[], url: string): Promise<string> {
  const program = runProgram(entry, { args, env: { DATABASE_URL: url, LOG_LEVEL: 'error' } });
  const { code } = await program.exited;
  if (code !== 0) throw new Error(`${entry} ${args.join(' ')} ended with code ${code}:\n${program.output()}`);
  return program.output();
}

async function sql(url: string, text: string): Promise<void> {
  const pool = createPool({ connection: { connectionString: url }, max: 1, onIdleError: () => undefined });
  try {
    await pool.query(text);
  } finally {
    await pool.end();
  }
}
