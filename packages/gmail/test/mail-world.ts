// A database, the Gmail stand-in, and the mail handler between them, as the relay would call it.

import { randomBytes } from 'node:crypto';
import { connectMailbox, createMail } from '@pulsebox/gmail';
import type { Mail, MailOptions, MailSyncOptions } from '@pulsebox/gmail';
import { createLogger } from '@pulsebox/loop';
import type { BatchOutcome, JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { createTestDatabase, startGmailStandIn } from '@pulsebox/test-support';
import type { GmailStandIn, GmailStandInMailbox, TestDatabase } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, beforeEach, inject, vi } from 'vitest';
import { emitted } from './connected.ts';

// Long on a machine that is busy with something else: no test here is about how fast it is.
vi.setConfig({ testTimeout: 180_000 });

export interface MailWorld {
  readonly db: TestDatabase;
  readonly gmail: GmailStandIn;
  readonly mail: Mail;
  readonly registry: Registry;
  /** Lines that handlers logged, as text. */
  readonly logged: string[];
  /** Connects a mailbox of the stand-in. Returns its connection's id. */
  connect(mailbox: GmailStandInMailbox, userId?: string): Promise<string>;
  /** Hands events to the handler as one batch. */
  deliver(events: readonly GivenEvent[], options?: DeliverOptions): Promise<BatchOutcome>;
  /** Delivers `mail.changed` for the connection, and the continuations that come of it. */
  sync(connectionId: string, options?: DeliverOptions): Promise<BatchOutcome>;
  /** A handler's set-up with other options: another process. */
  another(options: Partial<MailOptions>): Mail;
  connection(connectionId: string): Promise<Record<string, unknown>>;
  messages(connectionId: string): Promise<StoredMessage[]>;
  /** Forgets everything but the stand-in's mailboxes. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export interface StoredMessage {
  readonly mail_id: string;
  readonly gmail_id: string;
  readonly subject: string;
  readonly sender: string;
  readonly text: string | null;
  readonly labels: readonly string[];
  readonly deleted: boolean;
}

export interface GivenEvent {
  readonly topic: string;
  readonly payload: JsonValue;
}

export interface DeliverOptions extends Partial<MailSyncOptions> {
  readonly mail?: Mail;
  readonly signal?: AbortSignal;
  readonly progress?: () => void;
}

async function mailWorld(serverUrl: string, options: Partial<MailOptions> = {}): Promise<MailWorld> {
  const db = await createTestDatabase(serverUrl);
  const gmail = await startGmailStandIn();
  const registry = new Registry();
  const settings: MailOptions = {
    pool: db.pool,
    clientId: gmail.clientId,
    clientSecret: gmail.clientSecret,
    encryptionKey: randomBytes(32).toString('base64'),
    apiBase: gmail.url,
    timeoutMs: 5_000,
    firstRetryMs: 1,
    ...options,
  };
  const mail = createMail({ ...settings, registry });
  const logged: string[] = [];
  const log = createLogger({
    worker: 'test',
    destination: { write: (line: string) => void logged.push(line) },
  });
  let position = 0;

  async function deliver(events: readonly GivenEvent[], given: DeliverOptions = {}): Promise<BatchOutcome> {
    const { mail: with_ = mail, signal = new AbortController().signal, progress, ...sync } = given;
    const batch = events.map(
      ({ topic, payload }): OutboxEvent => ({
        position: ++position,
        topic,
        key: null,
        payload,
        headers: {},
        createdAt: new Date(),
      }),
    );
    const outcome = await with_.handler({ holder: 'test', ...sync })(
      { group: 'mail', lane: 0, events: batch },
      { signal, fencingToken: 1, progress: () => progress?.(), log },
    );
    return outcome ?? { failed: [] };
  }

  return {
    db,
    gmail,
    mail,
    registry,
    logged,
    deliver,
    async connect(mailbox, userId = 'ada') {
      const { connectionId } = await connectMailbox(mail, {
        userId,
        orgId: 'acme',
        grant: { refreshToken: mailbox.refreshToken },
        signal: new AbortController().signal,
      });
      return connectionId;
    },
    async sync(connectionId, given) {
      let outcome = await deliver(
        [{ topic: 'mail.changed', payload: { connection_id: connectionId } }],
        given,
      );
      for (;;) {
        const { rows } = await db.pool.query<{ payload: JsonValue }>(
          `delete from outbox.event where topic = 'mail.changed' and payload ? 'continuation' returning payload`,
        );
        if (rows.length === 0) return outcome;
        outcome = await deliver(
          rows.map(({ payload }) => ({ topic: 'mail.changed', payload })),
          given,
        );
      }
    },
    another: (other) => createMail({ ...settings, ...other }),
    async connection(connectionId) {
      const { rows } = await db.pool.query<Record<string, unknown>>(
        'select * from app.mail_connections where connection_id = $1',
        [connectionId],
      );
      return rows[0] ?? {};
    },
    async messages(connectionId) {
      const { rows } = await db.pool.query<StoredMessage>(
        `select mail_id, gmail_id, subject, sender, text, labels, deleted_at is not null as deleted
         from app.mail_messages where connection_id = $1 order by gmail_id`,
        [connectionId],
      );
      return rows;
    },
    async reset() {
      await db.pool.query('truncate app.mail_connections cascade');
      await db.pool.query('truncate outbox.event');
      await db.pool.query(`delete from pulsebox.lease where name like 'mail/%'`);
      gmail.heal();
      gmail.forgetRequests();
      logged.length = 0;
    },
    async close() {
      await gmail.close();
      await db.drop();
    },
  };
}

export interface OwnMailbox {
  readonly world: MailWorld;
  readonly mailbox: GmailStandInMailbox;
  /** Of its connection. */
  readonly id: string;
}

/** One world for the file, emptied before each test and given to it. To be called where hooks are. */
export function eachInWorld(give: (world: MailWorld) => Promise<void> | void): void {
  let world: MailWorld;
  beforeAll(async () => {
    world = await mailWorld(inject('serverUrl'));
  });
  afterAll(async () => {
    await world.close();
  });
  beforeEach(async () => {
    await world.reset();
    await give(world);
  });
}

/** As `eachInWorld`, with a new mailbox for each test. */
export function eachWithMailbox(give: (own: OwnMailbox) => void): void {
  let mailboxes = 0;
  eachInWorld(async (world) => {
    mailboxes += 1;
    const mailbox = world.gmail.mailbox(`ada-${mailboxes}@example.com`);
    give({ world, mailbox, id: await world.connect(mailbox) });
  });
}

/** What Pub/Sub's pull emits for each. */
export function changed(...connectionIds: readonly string[]): GivenEvent[] {
  return connectionIds.map((connection_id) => ({ topic: 'mail.changed', payload: { connection_id } }));
}

/** Topics of what was emitted, with how often. */
export async function topics(world: MailWorld): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { topic } of await emitted(world.db.pool)) counts[topic] = (counts[topic] ?? 0) + 1;
  return counts;
}
