// The attributes of a message that tell of a trace.

import type { OutboxEvent } from '@pulsebox/outbox';
import { expect, test } from 'vitest';
import { bridgeMessage } from '../src/bridge-message.ts';

const TRACEPARENT = `00-${'1'.repeat(32)}-${'a'.repeat(16)}-01`;

function event(headers: OutboxEvent['headers']): OutboxEvent {
  return { position: 1, topic: 'a', key: null, payload: 1, headers, createdAt: new Date() };
}

test('a trace is not what makes headers too long: there it is left out, and stands in attributes of its own', () => {
  const own = { note: 'x'.repeat(900) };
  const traced = { ...own, traceparent: TRACEPARENT, tracestate: `a=${'y'.repeat(200)}` };
  const result = bridgeMessage(event(traced));
  expect(result).toMatchObject({
    fits: true,
    message: {
      attributes: {
        headers: JSON.stringify(own),
        traceparent: TRACEPARENT,
        tracestate: traced.tracestate,
        googclient_traceparent: TRACEPARENT,
      },
    },
  });
});

test('a tracestate that Pub/Sub does not take is left behind, and the event goes out', () => {
  const result = bridgeMessage(event({ traceparent: TRACEPARENT, tracestate: `a=${'x'.repeat(1_000_000)}` }));
  if (!result.fits) throw new Error(result.reason);
  expect(result.message.attributes).toMatchObject({ traceparent: TRACEPARENT });
  expect(result.message.attributes).not.toHaveProperty('tracestate');
  expect(result.message.attributes).not.toHaveProperty('headers');
});
