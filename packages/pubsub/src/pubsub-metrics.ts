// Prometheus families of Pub/Sub. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

export interface PullMetrics {
  readonly messages: Counter<'outcome'>;
  readonly changed: Counter;
  readonly batchSize: Histogram;
  readonly deadLetters: Gauge;
  readonly streamUp: Gauge;
  readonly streamsLost: Counter;
}

export interface BridgeMetrics {
  readonly events: Counter<'outcome'>;
  readonly bytes: Counter;
}

export const bridgeOutcomes = ['published', 'rejected', 'passed_over'] as const;
export const messageOutcomes = ['known_address', 'unknown_address', 'folded', 'unparseable'] as const;

export function pullMetrics(registry: Registry): PullMetrics {
  const registers = [registry];
  const messages = new Counter({
    name: 'pubsub_messages_total',
    help: 'Messages that were pulled and dealt with: known_address, unknown_address, folded or unparseable.',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of messageOutcomes) messages.inc({ outcome }, 0);
  return {
    messages,
    changed: new Counter({
      name: 'pubsub_mailboxes_changed_total',
      help: 'Mailbox connections that notifications brought news of: events emitted.',
      registers,
    }),
    batchSize: new Histogram({
      name: 'pubsub_pulled_batch_messages',
      help: 'How many messages were handled as one.',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    }),
    deadLetters: new Gauge({
      name: 'pubsub_dead_letters',
      help: 'Messages kept because they could not be understood.',
      registers,
    }),
    streamUp: new Gauge({
      name: 'pubsub_stream_up',
      help: '1 while a streaming pull stands and the server answers, else 0.',
      registers,
    }),
    streamsLost: new Counter({
      name: 'pubsub_streams_lost_total',
      help: 'Streaming pulls that the server has ended or refused. It ends some as a routine.',
      registers,
    }),
  };
}

export function bridgeMetrics(registry: Registry): BridgeMetrics {
  const registers = [registry];
  const events = new Counter({
    name: 'pubsub_bridge_events_total',
    help: 'Events that the bridge was handed: published, rejected by Pub/Sub, or passed_over since their topic is not chosen.',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of bridgeOutcomes) events.inc({ outcome }, 0);
  return {
    events,
    bytes: new Counter({
      name: 'pubsub_bridge_bytes_total',
      help: 'Bytes of the messages that were published, as Pub/Sub counts them.',
      registers,
    }),
  };
}
