// The group `push` turned by hand: batches through the handler, jobs through their loops, a push service over TLS.

import { createLogger, createRegistry } from '@pulsebox/loop';
import type { Loop, Registry } from '@pulsebox/loop';
import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import { listDead, showDead } from '@pulsebox/outbox';
import type { BatchOutcome, DeadDetails, JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { createPush, generateVapidKeys, subscribe } from '@pulsebox/push';
import type { Push, PushOptions } from '@pulsebox/push';
import { createTestDatabase, startPushService } from '@pulsebox/test-support';
import type { BrowserSubscription, PushService, TestDatabase } from '@pulsebox/test-support';

export interface GivenEvent {
  readonly payload: JsonValue;
  /** Default `push.requested`. */
  readonly topic?: string;
  /** Default: none. */
  readonly headers?: OutboxEvent['headers'] | undefined;
  /** Default: the next. */
  readonly position?: number;
  /** Default: now. */
  readonly createdAt?: Date;
}

export interface PushDesk {
  readonly database: TestDatabase;
  readonly service: PushService;
  readonly jobs: Jobs;
  readonly registry: Registry;
  readonly push: Push;
  readonly logged: Record<string, unknown>[];
  /** A browser of the user that subscribes at the service. */
  browser(userId: string, options?: { readonly at?: PushService }): Promise<Browser>;
  deliver(events: readonly GivenEvent[], options?: { readonly signal?: AbortSignal }): Promise<BatchOutcome>;
  /** Runs jobs of a queue until none is due. Result: how many ended. */
  work(queue: 'push-retry' | 'push-broadcast'): Promise<number>;
  /** Lets all waiting jobs be due now. */
  makeDue(): Promise<void>;
  /** What stands in push.delivery, by subscription and position. */
  records(): Promise<{ position: number; subscription_id: number; outcome: string }[]>;
  /** Dead letters, the oldest first. */
  dead(): Promise<DeadDetails[]>;
  metric(text: string): Promise<number | undefined>;
  /** Another worker on the same database. */
  another(options?: Partial<PushOptions>): Push;
  close(): Promise<void>;
}

export interface Browser extends BrowserSubscription {
  readonly subscriptionId: number;
}

export const vapid = { ...generateVapidKeys(), subject: 'mailto:push@pulsebox.example' };

export function notification(userId: string, more: Record<string, JsonValue> = {}): GivenEvent {
  return { payload: { user_id: userId, payload: { title: 'Hello' }, ...more } };
}

export async function openPushDesk(
  serverUrl: string,
  options: Partial<PushOptions> & { readonly others?: readonly PushService[] } = {},
): Promise<PushDesk> {
  const database = await createTestDatabase(serverUrl);
  const service = await startPushService();
  const logged: Record<string, unknown>[] = [];
  const log = createLogger({
    worker: 'test',
    destination: { write: (line: string) => void logged.push(JSON.parse(line) as Record<string, unknown>) },
  });
  const jobs = openJobs({ pool: database.pool, log });
  const services = [service, ...(options.others ?? [])];
  const policy = {
    privateOrigins: services.map(({ origin }) => origin),
    ca: services.map(({ ca }) => ca).join(''),
  };
  const registry = createRegistry();
  const common = {
    log,
    vapid,
    pool: database.pool,
    jobs,
    ...policy,
    backoff: { firstMs: 1_000, random: () => 0.5 },
  };
  const push = createPush({ ...common, registry, ...options });
  const opened: Push[] = [push];
  let position = 0;

  return {
    database,
    service,
    jobs,
    registry,
    push,
    logged,
    async browser(userId, { at = service } = {}): Promise<Browser> {
      const browser = at.subscribe();
      const subscriptionId = await subscribe(database.pool, { userId, ...browser }, policy);
      return { ...browser, subscriptionId };
    },
    async deliver(given, { signal = new AbortController().signal } = {}): Promise<BatchOutcome> {
      const { rows } = await database.pool.query<{ now: Date }>('select clock_timestamp() as now');
      const events = given.map((event): OutboxEvent => {
        position = Math.max(position + 1, event.position ?? 0);
        return {
          position: event.position ?? position,
          topic: event.topic ?? 'push.requested',
          payload: event.payload,
          key: null,
          headers: event.headers ?? {},
          createdAt: event.createdAt ?? rows[0]?.now ?? new Date(),
        };
      });
      const outcome = await push.handler(
        { group: 'push', lane: 0, events },
        { signal, fencingToken: 1, progress: () => undefined, log },
      );
      return outcome ?? { failed: [] };
    },
    async work(queue): Promise<number> {
      const loop = loopOf(push, queue);
      const signal = new AbortController().signal;
      let ended = 0;
      for (;;) {
        const result = await loop.tick({ signal, stopping: signal, progress: () => undefined, log });
        if ((result?.events ?? 0) === 0) return ended;
        ended += result?.events ?? 0;
      }
    },
    async makeDue(): Promise<void> {
      await database.pool.query(
        `update pgboss.job set start_after = now() where state in ('created', 'retry')`,
      );
    },
    async records() {
      const { rows } = await database.pool.query<{
        position: number;
        subscription_id: number;
        outcome: string;
      }>(
        `select position::float8 as position, subscription_id::float8 as subscription_id, outcome
         from push.delivery order by 1, 2`,
      );
      return rows;
    },
    async dead() {
      const { events } = await listDead(database.pool, { first: 'oldest' });
      return await Promise.all(events.map((event) => showDead(database.pool, event)));
    },
    async metric(text): Promise<number | undefined> {
      const line = (await registry.metrics())
        .split('\n')
        .find((candidate) => candidate.startsWith(`${text} `));
      return line === undefined ? undefined : Number(line.slice(text.length + 1));
    },
    another(more = {}): Push {
      const made = createPush({ ...common, ...options, ...more });
      opened.push(made);
      return made;
    },
    async close(): Promise<void> {
      await Promise.all(opened.map((each) => each.close()));
      await jobs.stop();
      await service.close();
      await database.drop();
    },
  };
}

export function loopOf(push: Push, name: string): Loop {
  const loop = push.loops.find((candidate) => candidate.name === name);
  if (loop === undefined) throw new Error(`no loop ${name}`);
  return loop;
}
