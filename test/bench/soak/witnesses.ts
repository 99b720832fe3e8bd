// Who sees what arrives at each sink, and how long it took.

import type { ReceivedPush, RecordedRequest, StoredMessage } from '@pulsebox/test-support';
import { percentile } from '../harness/statistics.ts';
import { Journeys } from './journeys.ts';
import { LogWitness } from './log-witness.ts';

/** What the stand-ins tell of. */
export interface Arrivals {
  readonly onIndexRequest: (request: RecordedRequest) => void;
  readonly onPush: (push: ReceivedPush) => void;
  readonly onBridged: (messages: readonly StoredMessage[]) => void;
}

export interface Witnesses {
  readonly items: Journeys;
  readonly pushes: Journeys;
  readonly mailsShown: Journeys;
  readonly mailsIndexed: Journeys;
  readonly log: LogWitness;
  readonly arrivals: Arrivals;
}

export function createWitnesses(): Witnesses {
  const [items, pushes, mailsShown, mailsIndexed] = [
    new Journeys(),
    new Journeys(),
    new Journeys(),
    new Journeys(),
  ];
  const log = new LogWitness();
  return {
    items,
    pushes,
    mailsShown,
    mailsIndexed,
    log,
    arrivals: {
      onIndexRequest({ method, path, body }): void {
        if (method !== 'POST') return;
        if (path === '/indexes/items/documents') {
          for (const { id, data } of body as readonly IndexedItem[]) {
            if (data.version !== undefined) items.arrived(id, data.version);
          }
        } else if (path === '/indexes/items/documents/delete-batch') {
          for (const id of body as readonly string[]) items.gone(id);
        } else if (path === '/indexes/mail/documents') {
          for (const { subject } of body as readonly IndexedMail[]) mailsIndexed.arrived(subject);
        }
      },
      onPush({ plaintext }): void {
        const { body } = JSON.parse(plaintext) as { body: string };
        (body.startsWith('mail ') ? mailsShown : pushes).arrived(body);
      },
      onBridged(messages): void {
        const now = Date.now();
        for (const { attributes, orderingKey } of messages) {
          const writtenAtMs = Date.parse(attributes['created_at'] ?? '');
          log.saw(Number(attributes['position']), orderingKey, Math.max(0, now - writtenAtMs));
        }
      },
    },
  };
}

interface IndexedItem {
  readonly id: string;
  /** Without a version: of an import. */
  readonly data: { readonly version?: number };
}

interface IndexedMail {
  readonly subject: string;
}

/** Medians and 99th percentiles since the last call, in milliseconds; NaN where nothing arrived. */
export function latencies({
  items,
  pushes,
  mailsShown,
  mailsIndexed,
  log,
}: Witnesses): Record<string, number> {
  const paths = {
    'of an item to the index': items,
    'of a push': pushes,
    'of a mail to its push': mailsShown,
    'of a mail to the index': mailsIndexed,
    'of an event to Pub/Sub': log,
  };
  return Object.fromEntries(
    Object.entries(paths).flatMap(([path, witness]) => {
      const tookMs = witness.take();
      return [50, 99].map((percent) => [`latency ${path} p${percent}`, percentile(tookMs, percent)]);
    }),
  );
}
