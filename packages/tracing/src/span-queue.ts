// Spans on their way to the collector. Nobody waits for it: a span that ends is put into memory, and what the collector
// does not take in time is dropped and counted.
//
// In place of the SDK's own BatchSpanProcessor, which does not say how much it drops, and which at a shutdown waits for a
// collector that does not answer.

import { TraceFlags } from '@opentelemetry/api';
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Logger } from '@pulsebox/loop';
import type { OtlpClient } from './otlp-client.ts';
import type { TracingMetrics } from './tracing-metrics.ts';

export interface SpanQueueOptions {
  readonly client: OtlpClient;
  readonly metrics: TracingMetrics;
  readonly log: Logger;
  /** How long spans are gathered, in milliseconds. */
  readonly delayMs: number;
  /** The most that wait. */
  readonly mostSpans: number;
  /** How long the last spans may take when the worker stops, in milliseconds. */
  readonly closeMs: number;
}

/** In one request: a few hundred kilobytes. */
const BATCH = 512;

export function spanQueue(options: SpanQueueOptions): SpanProcessor {
  const { client, metrics, log, delayMs, mostSpans, closeMs } = options;
  let waiting: ReadableSpan[] = [];
  let underWay = 0;
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;
  let stopped = false;
  let isAway = false;

  function schedule(): void {
    if (stopped || sending !== undefined || waiting.length === 0) return;
    if (waiting.length >= BATCH) {
      clearTimeout(timer);
      timer = undefined;
      sending = sendAll(BATCH).finally(() => {
        sending = undefined;
        schedule();
      });
    } else {
      timer ??= setTimeout(() => {
        timer = undefined;
        sending ??= sendAll(1).finally(() => {
          sending = undefined;
          schedule();
        });
      }, delayMs).unref();
    }
  }

  /** While there are so many. */
  async function sendAll(least: number): Promise<void> {
    // Writing spans as bytes takes milliseconds: not inside of what was measured.
    await new Promise(setImmediate);
    while (waiting.length >= least) await sendBatch();
  }

  async function sendBatch(): Promise<void> {
    const spans = waiting.slice(0, BATCH);
    waiting = waiting.slice(BATCH);
    underWay = spans.length;
    const sent = await client.send(spans);
    // Given up meanwhile, and counted then.
    if (underWay === 0) return;
    underWay = 0;
    const dropped = sent.taken ? sent.rejected : spans.length;
    metrics.exported.inc(spans.length - dropped);
    metrics.dropped.inc({ reason: 'export_failed' }, dropped);
    if (sent.taken === !isAway) return;
    isAway = !sent.taken;
    if (sent.taken) log.info('the collector of traces takes spans again');
    else
      log.warn(
        { reason: sent.reason },
        'the collector of traces takes no spans: they are dropped until it does, and nothing else suffers',
      );
  }

  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    await sending;
    await sendAll(1);
  }

  async function shutdown(): Promise<void> {
    if (stopped) return;
    stopped = true;
    let late: NodeJS.Timeout | undefined;
    const tooLate = new Promise<void>((resolve) => {
      late = setTimeout(resolve, closeMs);
    });
    await Promise.race([flush(), tooLate]);
    clearTimeout(late);
    const left = waiting.length + underWay;
    waiting = [];
    underWay = 0;
    if (left > 0) {
      metrics.dropped.inc({ reason: 'stopped' }, left);
      log.warn({ spans: left }, 'the last spans did not reach the collector of traces in time');
    }
    client.close();
  }

  return {
    onStart: () => undefined,
    onEnd(span): void {
      if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return;
      if (stopped || waiting.length >= mostSpans) {
        metrics.dropped.inc({ reason: stopped ? 'stopped' : 'queue_full' });
        return;
      }
      waiting.push(span);
      schedule();
    },
    forceFlush: flush,
    shutdown,
  };
}
