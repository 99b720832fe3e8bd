// What tracing is told by an operator.

import type { SamplerName } from './sampler-names.ts';

/** OTLP over gRPC is not spoken: its client would be a second way out for the same spans, and every collector takes HTTP. */
export const tracingProtocols = ['http/protobuf', 'http/json'] as const;

export type TracingProtocol = (typeof tracingProtocols)[number];

export interface TracingSettings {
  /** Where spans are posted, for instance `http://collector:4318/v1/traces`. */
  readonly url: string;
  readonly protocol: TracingProtocol;
  /** Sent with every request to the collector. */
  readonly headers: Readonly<Record<string, string>>;
  /** The longest one export may take, its retries included, in milliseconds. */
  readonly timeoutMs: number;
  /** `service.name`. */
  readonly serviceName: string;
  /** What else is said of this process, under the names of OpenTelemetry. */
  readonly resource: Readonly<Record<string, string>>;
  readonly sampler: SamplerName;
  /** From 0 to 1: the share of the traces that begin here which is sampled. For the samplers with a ratio. */
  readonly ratio: number;
  /** How long spans are gathered before they are sent, in milliseconds. */
  readonly delayMs: number;
  /** The most that wait to be sent; more are dropped and counted. */
  readonly mostSpans: number;
}
