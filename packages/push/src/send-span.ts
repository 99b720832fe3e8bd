// A span around each request to a push service. The request itself carries no header of a trace: endpoints come from
// strangers, and what happens inside of an application is none of theirs. Nor has the span more of one than its host.

import { propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Outcome } from './sender.ts';

const TRACER = '@pulsebox/push';

/** Without an SDK of OpenTelemetry it is just a call. @param send never rejects */
export async function inSendSpan(send: () => Promise<Outcome>): Promise<Outcome> {
  if (propagation.fields().length === 0) return await send();
  return await trace
    .getTracer(TRACER)
    .startActiveSpan(
      'POST',
      { kind: SpanKind.CLIENT, attributes: { 'http.request.method': 'POST' } },
      async (span) => {
        const outcome = await send();
        const { kind, origin, status } = outcome;
        const host = origin === undefined ? null : URL.parse(origin);
        if (host !== null) span.setAttribute('server.address', host.hostname);
        if (status !== undefined) span.setAttribute('http.response.status_code', status);
        if (kind !== 'sent') span.setAttribute('error.type', kind).setStatus({ code: SpanStatusCode.ERROR });
        span.end();
        return outcome;
      },
    );
}
