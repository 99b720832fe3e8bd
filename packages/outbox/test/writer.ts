// A producer on a connection of its own, one step at a time.

import type { Pool, PoolClient } from 'pg';
import { emitAll } from '../src/log/emit.ts';

export interface Writer {
  /** Begins when no transaction is open, and emits one event for each label. The label's key is what stands before `#`. */
  emit(...labels: readonly string[]): Promise<void>;
  /** Begins, and takes an xid without writing an event: as a business row does that is written first. */
  touch(): Promise<void>;
  run(sql: string): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  xid(): Promise<bigint>;
  /** Rolls back what is open and gives the connection back. */
  close(): Promise<void>;
}

export async function openWriter(pool: Pool): Promise<Writer> {
  const client: PoolClient = await pool.connect();
  const begin = async (): Promise<void> => {
    if (client.getTransactionStatus() === 'I') await client.query('begin');
  };
  const run = async (sql: string): Promise<void> => {
    await client.query(sql);
  };
  return {
    async emit(...labels): Promise<void> {
      await begin();
      const events = labels.map((label) => ({ topic: 'test.written', key: keyOf(label), payload: label }));
      await emitAll(client, events);
    },
    async touch(): Promise<void> {
      await begin();
      await client.query('select pg_current_xact_id()');
    },
    run,
    commit: () => run('commit'),
    rollback: () => run('rollback'),
    async xid(): Promise<bigint> {
      const { rows } = await client.query<{ xid: string }>('select pg_current_xact_id()::text as xid');
      return BigInt(rows[0]!.xid);
    },
    async close(): Promise<void> {
      if (client.getTransactionStatus() !== 'I') await client.query('rollback');
      client.release();
    },
  };
}

export function keyOf(label: string): string {
  return label.split('#')[0]!;
}
