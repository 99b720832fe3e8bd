// How a trace goes along with a job: kept beside its data. Of OpenTelemetry this package knows the API alone, which does
// nothing until the application registers an SDK.

import { context, propagation } from '@opentelemetry/api';

/** `traceparent`, and what else the application's propagator writes. */
export type JobTrace = Readonly<Record<string, string>>;

/** In what pg-boss stores as the data of a job. No name that data of one's own would have. */
const KEY = 'pulsebox:trace';

/** Undefined: there is no trace, or nobody carries it on. */
export function activeTrace(): JobTrace | undefined {
  if (propagation.fields().length === 0) return undefined;
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return Object.keys(headers).length === 0 ? undefined : headers;
}

export function withTrace<Data extends object>(data: Data, of: JobTrace | undefined): Data {
  return of === undefined ? data : { ...data, [KEY]: of };
}

export function splitTrace<Data extends object>(
  stored: Data,
): { readonly data: Data; readonly trace: JobTrace | undefined } {
  if (!Object.hasOwn(stored, KEY)) return { data: stored, trace: undefined };
  const { [KEY]: found, ...data } = stored as Data & { readonly [KEY]: JobTrace };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what `withTrace` was given, without what it added
  return { data: data as unknown as Data, trace: found };
}
