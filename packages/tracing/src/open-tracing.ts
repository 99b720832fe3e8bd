// Tracing of a process, from the first span to the last.

import type { Logger, Registry } from '@pulsebox/loop';
import { tracingMetrics } from './tracing-metrics.ts';
import type { TracingSettings } from './tracing-settings.ts';

export interface OpenTracingOptions {
  readonly settings: TracingSettings;
  /** Of the service. */
  readonly version: string;
  readonly registry: Registry;
  readonly log: Logger;
  /**
   * Whether requests by `fetch` and undici get spans, and carry `traceparent` to whatever host they go to. Not for a process
   * that sends to addresses which strangers have given it.
   */
  readonly requests: boolean;
  /** How long the last spans may take when it is closed, in milliseconds. Default 2,000. */
  readonly closeMs?: number;
}

export interface Tracing {
  /** Sends what is left, for `closeMs` at most. Idempotent, never rejects. */
  close(): Promise<void>;
}

/** Once per process: it registers an SDK of OpenTelemetry, which is loaded here and nowhere else. */
export async function openTracing(options: OpenTracingOptions): Promise<Tracing> {
  const { settings, version, registry, log, requests, closeMs = 2_000 } = options;
  const [{ registerProvider }, { traceRequests }] = await Promise.all([
    import('./provider.ts'),
    import('./request-spans.ts'),
  ]);
  const metrics = tracingMetrics(registry);
  const unregister = registerProvider({ settings, version, metrics, log, closeMs });
  const endRequests = requests ? traceRequests() : undefined;
  let closed: Promise<void> | undefined;
  return {
    async close(): Promise<void> {
      endRequests?.();
      closed ??= unregister();
      await closed;
    },
  };
}
