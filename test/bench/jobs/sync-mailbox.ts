// A full sync in a real worker: messages stored with the events that tell of them, a page a transaction.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectMailbox, createMail } from '@pulsebox/gmail';
import { createPool } from '@pulsebox/postgres';
import { runBenchWorker, stopThisWorker } from '../harness/bench-worker.ts';
import type { GmailSaid } from './gmail.ts';

export interface SyncMailboxInput extends GmailSaid {
  readonly dbUrl: string;
}

export interface SyncOutput {
  readonly elapsedMs: number;
  readonly cpuSeconds: number;
}

/** Result: whether the full sync is over. */
const SYNCED = 'select last_full_sync_at is not null as synced from app.mail_connections';
const LOOK_EVERY_MS = 20;
/** More than a sync here can spend. */
const UNITS_PER_MINUTE = { mailbox: 1_000_000_000, project: 1_000_000_000 };

export default async function syncMailbox(input: SyncMailboxInput): Promise<SyncOutput> {
  const { dbUrl, url, clientId, clientSecret, refreshToken } = input;
  const own = createPool({ connection: { connectionString: dbUrl }, onIdleError: console.error });
  const settings = {
    clientId,
    clientSecret,
    apiBase: url,
    encryptionKey: randomBytes(32).toString('base64'),
    unitsPerMinute: UNITS_PER_MINUTE,
  };
  await connectMailbox(createMail({ ...settings, pool: own }), {
    userId: 'ada',
    orgId: 'acme',
    grant: { refreshToken },
    signal: new AbortController().signal,
  });
  let startedAtMs = 0;
  let cpuAtStart = process.cpuUsage();
  const worker = runBenchWorker({
    url: dbUrl,
    group: 'mail',
    batchSize: 500,
    order: 'none',
    handler: ({ pool, registry }) => createMail({ ...settings, pool, registry }).handler({ holder: 'bench' }),
    onFirstTick(): void {
      cpuAtStart = process.cpuUsage();
      startedAtMs = performance.now();
    },
  });
  while (!(await own.query<{ synced: boolean }>(SYNCED)).rows[0]?.synced) await sleep(LOOK_EVERY_MS);
  const elapsedMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpuAtStart);
  stopThisWorker();
  await worker;
  await own.end();
  return { elapsedMs, cpuSeconds: (user + system) / 1e6 };
}
