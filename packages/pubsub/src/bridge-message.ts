// An event of the log as a message of Pub/Sub.

import { traceOf } from '@pulsebox/outbox';
import type { OutboxEvent } from '@pulsebox/outbox';

export interface BridgeMessage {
  readonly event: OutboxEvent;
  readonly data: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
  /** Empty: in no order. */
  readonly orderingKey: string;
  /** As Pub/Sub counts, in bytes. */
  readonly size: number;
}

export type BridgeMessageResult =
  | { readonly fits: true; readonly message: BridgeMessage }
  | { readonly fits: false; readonly reason: string };

/** Of the data with the attributes, and of a whole request. */
const LARGEST_MESSAGE_BYTES = 10_000_000;
/** Of the value of one attribute. Those that are ours are short, but for the headers. */
const LARGEST_ATTRIBUTE_BYTES = 1_024;

/**
 * The data is the payload as JSON. Attributes: `position` and `topic` of the event, `created_at` in ISO 8601, and `headers`
 * as JSON where the event has some. Of headers that name a
 * trace, `traceparent` and `tracestate` are attributes as well, and `googclient_traceparent`, which Google's clients read.
 */
export function bridgeMessage(event: OutboxEvent): BridgeMessageResult {
  const { position, topic, key, payload, headers, createdAt } = event;
  const data = Buffer.from(JSON.stringify(payload));
  const traced = traceAttributes(event);
  const headersText = textOf(headers, traced);
  const attributes: Record<string, string> = {
    position: String(position),
    topic,
    created_at: createdAt.toISOString(),
    ...(headersText === '{}' ? {} : { headers: headersText }),
    ...traced,
  };
  const headersBytes = Buffer.byteLength(headersText);
  if (headersBytes > LARGEST_ATTRIBUTE_BYTES) {
    return { fits: false, reason: tooLarge('headers', headersBytes, LARGEST_ATTRIBUTE_BYTES) };
  }
  const orderingKey = key ?? '';
  const size =
    data.length +
    Buffer.byteLength(orderingKey) +
    Buffer.byteLength(Object.entries(attributes).flat().join(''));
  if (size > LARGEST_MESSAGE_BYTES) {
    return { fits: false, reason: tooLarge('an event', size, LARGEST_MESSAGE_BYTES) };
  }
  return { fits: true, message: { event, data, attributes, orderingKey, size } };
}

/** Whole where there is room. A trace, which stands in attributes of its own, must not be what makes headers too long. */
function textOf(headers: OutboxEvent['headers'], traced: Readonly<Record<string, string>>): string {
  const text = JSON.stringify(headers);
  if (Buffer.byteLength(text) <= LARGEST_ATTRIBUTE_BYTES || traced['traceparent'] === undefined) return text;
  const { traceparent: _, tracestate: __, ...others } = headers;
  return JSON.stringify(others);
}

/** The event's own: it is passed on, and whoever receives it continues where the producer was. */
function traceAttributes(event: OutboxEvent): Readonly<Record<string, string>> {
  const trace = traceOf(event);
  const traceparent = trace?.['traceparent'];
  return traceparent === undefined ? {} : { ...trace, googclient_traceparent: traceparent };
}

function tooLarge(what: string, bytes: number, most: number): string {
  return `PUBSUB_SINK_REJECTED: expected ${what} of at most ${most} bytes, which is what Pub/Sub takes, got ${bytes}`;
}
