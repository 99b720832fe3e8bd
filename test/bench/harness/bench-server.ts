// The one PostgreSQL of a run, fresh, durable, and the same for everybody; and databases in it.

import { startTemporaryServer } from '@pulsebox/test-support';
import pg from 'pg';

export interface BenchServer {
  readonly pid: number;
  readonly version: string;
  /** The URL of a database that is made empty, and made anew when it is there. */
  freshDatabase(name: string): Promise<string>;
  /** Vacuum, statistics, checkpoint: nobody is timed while the server still works on what came before. */
  settle(url: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * What an operator would set on a small dedicated machine. Commits are durable; autovacuum is on; all else is
 * PostgreSQL's default. Checkpoints are kept out of the timed minutes, for everybody.
 */
export const serverSettings: Readonly<Record<string, string>> = {
  fsync: 'on',
  synchronous_commit: 'on',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
  max_connections: '100',
};

export async function startBenchServer(
  settings: Readonly<Record<string, string>> = serverSettings,
): Promise<BenchServer> {
  // Kept by a process of its own: whatever ends the bench, neither server nor data are left behind.
  const server = await startTemporaryServer(settings);
  const version = await query<{ server_version: string }>(server.url, 'show server_version');
  return {
    pid: server.pid,
    version: version[0]?.server_version ?? 'unknown',
    async freshDatabase(name): Promise<string> {
      const database = name.replaceAll('-', '_');
      await query(server.url, `drop database if exists ${database} with (force)`);
      await query(server.url, `create database ${database}`);
      const url = new URL(server.url);
      url.pathname = database;
      return url.href;
    },
    async settle(url): Promise<void> {
      await query(url, 'vacuum analyze');
      await query(url, 'checkpoint');
    },
    stop: () => server.stop(),
  };
}

/** One statement on a connection of its own. */
export async function query<Row extends pg.QueryResultRow>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Row>(text, values);
    return rows;
  } finally {
    await client.end();
  }
}
