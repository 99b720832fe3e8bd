// The pull in a real worker: notifications that wait in a subscription, to `mail.changed` in the log and acknowledged.

import { recordNotifications } from '@pulsebox/gmail';
import { createLogger, runWorker } from '@pulsebox/loop';
import type { Loop } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';
import { mailNotifications, pullLoop } from '@pulsebox/pubsub';
import { stopThisWorker } from '../harness/bench-worker.ts';
import { PROJECT } from './pubsub-client.ts';

export interface PullNotificationsInput {
  readonly url: string;
  readonly host: string;
  readonly subscription: string;
  readonly notifications: number;
  /** False: they are acknowledged and nothing else, which is what the client and Pub/Sub take. */
  readonly record: boolean;
}

/** How long it took, from the first message to the last one handled, in milliseconds. */
export default async function pullNotifications(input: PullNotificationsInput): Promise<number> {
  const { url, host, subscription, notifications, record } = input;
  const log = createLogger({ worker: 'bench', level: 'warn' });
  const pool = createPool({
    connection: { connectionString: url },
    onIdleError: (error) => log.warn({ err: error }),
  });
  const handler = mailNotifications({ pool, subscription, record: recordNotifications });
  let startedAtMs = 0;
  let elapsedMs = 0;
  let handled = 0;
  const pull = pullLoop({
    connection: { projectId: PROJECT, emulatorHost: host },
    subscription,
    async handler(messages, context) {
      if (startedAtMs === 0) startedAtMs = performance.now();
      if (record) await handler(messages, context);
    },
  });
  const watched: Loop = {
    ...pull,
    async tick(context): ReturnType<Loop['tick']> {
      const result = await pull.tick(context);
      const before = handled;
      handled += result?.events ?? 0;
      if (before < notifications && handled >= notifications) {
        elapsedMs = performance.now() - startedAtMs;
        stopThisWorker();
      }
      return result;
    },
  };
  const exitCode = await runWorker({
    name: 'bench',
    version: '0.0.0',
    port: 0,
    host: '127.0.0.1',
    loops: [watched],
    once: false,
    log,
    stalenessMultiplier: 3,
    close: async () => await pool.end(),
  });
  if (exitCode !== 0) throw new Error(`the worker ended with ${exitCode}`);
  return elapsedMs;
}
