// The same business transaction with `emit` and with a bare insert into a classic outbox table, in short turns.

import { emit } from '@pulsebox/outbox';
import { createPool, transaction } from '@pulsebox/postgres';
import type { ClientBase } from 'pg';
import { payload } from '../harness/payload.ts';

export interface EmitRoundsInput {
  readonly url: string;
  readonly connections: number;
  readonly rounds: number;
  readonly roundMs: number;
}

export interface EmitRound {
  readonly emitPerSecond: number;
  readonly insertPerSecond: number;
}

/** Spread over so many rows that transactions seldom wait for one another. */
export const ACCOUNTS = 10_000;

/** $1 id. Index: account_pkey. */
const UPDATE_ACCOUNT = 'update account set balance = balance + 1 where id = $1';

const BARE_INSERT = `
  insert into classic_outbox (topic, key, payload, headers) values ($1, $2, $3, $4) returning id`;

type AddEvent = (client: ClientBase, id: number) => Promise<void>;

const withEmit: AddEvent = async (client, id) => {
  await emit(client, { topic: 'account.changed', key: `account:${id}`, payload: { ...payload(id) } });
};

const withBareInsert: AddEvent = async (client, id) => {
  await client.query(BARE_INSERT, ['account.changed', `account:${id}`, JSON.stringify(payload(id)), '{}']);
};

export default async function emitRounds({
  url,
  connections,
  rounds,
  roundMs,
}: EmitRoundsInput): Promise<readonly EmitRound[]> {
  const pool = createPool({
    connection: { connectionString: url },
    max: connections,
    onIdleError: console.error,
  });

  /** Transactions a second with `connections` of them under way at all times. */
  async function turn(add: AddEvent): Promise<number> {
    const startedAtMs = performance.now();
    let transactions = 0;
    const worker = async (): Promise<void> => {
      while (performance.now() - startedAtMs < roundMs) {
        const id = Math.floor(Math.random() * ACCOUNTS);
        await transaction(pool, async (client) => {
          await client.query(UPDATE_ACCOUNT, [id]);
          await add(client, id);
        });
        transactions += 1;
      }
    };
    await Promise.all(Array.from({ length: connections }, worker));
    return (transactions / (performance.now() - startedAtMs)) * 1_000;
  }

  await turn(withEmit);
  await turn(withBareInsert);
  const measured: EmitRound[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // Who goes first changes, so that neither always follows the other.
    if (round % 2 === 0) {
      const emitPerSecond = await turn(withEmit);
      measured.push({ emitPerSecond, insertPerSecond: await turn(withBareInsert) });
    } else {
      const insertPerSecond = await turn(withBareInsert);
      measured.push({ emitPerSecond: await turn(withEmit), insertPerSecond });
    }
  }
  await pool.end();
  return measured;
}
