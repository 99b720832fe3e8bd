// Posts spans to a collector: OTLP over HTTP, tried again for a while as the protocol says.
//
// In place of the SDK's exporters, whose waits between two attempts nothing ends: a worker that stops while its collector is
// away would be held open by them. https://opentelemetry.io/docs/specs/otlp/#otlphttp

import { setTimeout as delay } from 'node:timers/promises';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { TracingSettings } from './tracing-settings.ts';

export type Sent =
  /** `rejected`: how many of them the collector did not want. */
  | { readonly taken: true; readonly rejected: number }
  /** `reason`: a code or a status. What the collector answers is not quoted: it may say whose key was refused. */
  | { readonly taken: false; readonly reason: string };

export interface OtlpClient {
  /** Never rejects. */
  send(spans: ReadableSpan[]): Promise<Sent>;
  /** Gives up what is under way, and holds nothing open. */
  close(): void;
}

type Answer = Sent & { readonly again?: boolean; readonly afterMs?: number };

/** Of those that refuse, by the protocol. */
const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const FIRST_WAIT_MS = 500;
/** The most that is read of an answer, in bytes. */
const LONGEST_ANSWER = 65_536;

const FORMATS = {
  'http/protobuf': { type: 'application/x-protobuf', serializer: ProtobufTraceSerializer },
  'http/json': { type: 'application/json', serializer: JsonTraceSerializer },
} as const;

export function otlpClient({ url, protocol, headers, timeoutMs }: TracingSettings): OtlpClient {
  const { type, serializer } = FORMATS[protocol];
  const closing = new AbortController();

  async function post(body: Uint8Array, most: number, withinMs: number): Promise<Answer> {
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(Math.max(1, Math.ceil(withinMs)))]);
      const response = await fetch(url, {
        method: 'POST',
        headers: { ...headers, 'content-type': type },
        body: new Uint8Array(body),
        // A key is for the host that it was meant for: a redirect is an answer like any other that is none.
        redirect: 'manual',
        signal,
      });
      const answer = await readBody(response);
      if (response.ok) return { taken: true, rejected: rejectedOf(answer, most) };
      const again = PASSING.has(response.status);
      return {
        taken: false,
        reason: `HTTP status ${response.status}`,
        again,
        afterMs: retryAfterMs(response),
      };
    } catch (error) {
      return { taken: false, reason: reasonOf(error), again: true };
    }
  }

  function rejectedOf(answer: Uint8Array, most: number): number {
    try {
      // oxlint-disable-next-line typescript/no-unnecessary-type-conversion -- in JSON it is a text, whatever its type says
      const rejected = Number(serializer.deserializeResponse(answer).partialSuccess?.rejectedSpans ?? 0);
      // Whatever a stranger's number is: a counter that is asked to go back throws.
      return rejected > 0 ? Math.min(rejected, most) : 0;
    } catch {
      // It has taken them; how it says so is its own affair.
      return 0;
    }
  }

  function bodyOf(spans: ReadableSpan[]): Uint8Array | undefined {
    try {
      return serializer.serializeRequest(spans);
    } catch {
      return undefined;
    }
  }

  async function send(spans: ReadableSpan[]): Promise<Sent> {
    const body = bodyOf(spans);
    if (body === undefined) return { taken: false, reason: 'the spans could not be written' };
    const untilMs = performance.now() + timeoutMs;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs *= 2) {
      const answer = await post(body, spans.length, untilMs - performance.now());
      if (answer.taken || answer.again !== true) return answer;
      const restMs = Math.max(answer.afterMs ?? 0, waitMs / 2 + (Math.random() * waitMs) / 2);
      if (closing.signal.aborted || performance.now() + restMs >= untilMs) return answer;
      await delay(restMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined);
    }
  }

  return {
    // Whoever ended a span last has nothing to do with this request: it is in nobody's trace.
    send: async (spans) => await context.with(ROOT_CONTEXT, send, undefined, spans),
    close: () => closing.abort(),
  };
}

async function readBody({ body }: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  if (body === null) return new Uint8Array();
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the rest.
    if (bytes > LONGEST_ANSWER) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function retryAfterMs({ headers }: Response): number {
  const seconds = Number(headers.get('retry-after') ?? 0);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : 0;
}

/** `fetch` buries ECONNREFUSED. */
function reasonOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { readonly code?: unknown };
    if (typeof code === 'string') return code;
    if (cause.name === 'TimeoutError') return cause.name;
  }
  return error instanceof Error ? error.name : 'unknown';
}
