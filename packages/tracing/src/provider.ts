// The SDK, put together and registered for the process. Loaded by `openTracing` alone: it takes a worker that does not
// trace neither time nor memory.

import { randomUUID } from 'node:crypto';
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import type { Logger } from '@pulsebox/loop';
import { otlpClient } from './otlp-client.ts';
import { samplerOf } from './sampler.ts';
import { spanQueue } from './span-queue.ts';
import type { TracingMetrics } from './tracing-metrics.ts';
import type { TracingSettings } from './tracing-settings.ts';

export interface ProviderOptions {
  readonly settings: TracingSettings;
  readonly version: string;
  readonly metrics: TracingMetrics;
  readonly log: Logger;
  readonly closeMs: number;
}

/** An address, or a name, that goes beyond this helps nobody. */
const LONGEST_VALUE = 1_000;

/** @returns what sends the last spans and takes the SDK off the process again; never rejects */
export function registerProvider(options: ProviderOptions): () => Promise<void> {
  const { settings, version, metrics, log, closeMs } = options;
  const { delayMs, mostSpans } = settings;
  const client = otlpClient(settings);
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.version': version,
      'service.instance.id': randomUUID(),
      ...settings.resource,
      'service.name': settings.serviceName,
    }),
    sampler: samplerOf(settings.sampler, settings.ratio),
    spanLimits: { attributeValueLengthLimit: LONGEST_VALUE },
    spanProcessors: [spanQueue({ client, metrics, log, delayMs, mostSpans, closeMs })],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(provider);
  return async () => {
    await provider
      .shutdown()
      .catch((error: unknown) => log.warn({ err: error }, 'tracing did not end cleanly'));
    trace.disable();
    propagation.disable();
    context.disable();
  };
}
