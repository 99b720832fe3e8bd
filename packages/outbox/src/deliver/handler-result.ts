// What a handler returned, looked at before it is believed: what cannot be stored would hold its group up for ever,
// with an error of the server's that tells nobody whose fault it is.

import type { Batch, EventFailure } from './handler.ts';
import { OutboxError } from '../outbox-error.ts';
import { shown } from './shown.ts';

/**
 * The reports of events that failed, by position; of two about one event the last.
 *
 * @throws OUTBOX_HANDLER_RESULT_INVALID
 */
export function reportsOf({ group, events }: Batch, result: unknown): ReadonlyMap<number, EventFailure> {
  if (result === undefined || result === null) return new Map();
  const failed: unknown = (result as { readonly failed?: unknown }).failed;
  if (!Array.isArray(failed)) {
    throw invalid(group, `expected a handler to return nothing or { failed: [...] }, got ${shown(result)}`);
  }
  if (failed.length === 0) return new Map();
  const known = new Set(events.map((event) => event.position));
  return new Map(
    failed.map((report: unknown) => {
      const fault = faultOf(report, known);
      if (fault !== undefined) throw invalid(group, `the handler reported a failure ${fault}`);
      const checked = report as EventFailure;
      return [checked.position, checked];
    }),
  );
}

function faultOf(report: unknown, known: ReadonlySet<number>): string | undefined {
  if (typeof report !== 'object' || report === null) return `that is none: ${shown(report)}`;
  const { position, reason, retryable, retryAfterMs } = report as Readonly<Record<string, unknown>>;
  if (typeof position !== 'number' || !known.has(position))
    return `of position ${shown(position)}, which is not in its batch`;
  if (typeof reason !== 'string')
    return `of position ${position} with the reason ${shown(reason)}, where a sentence was expected`;
  if (typeof retryable !== 'boolean')
    return `of position ${position} with retryable ${shown(retryable)}, where true or false was expected`;
  if (retryAfterMs !== undefined && typeof retryAfterMs !== 'number')
    return `of position ${position} with retryAfterMs ${shown(retryAfterMs)}, where milliseconds were expected`;
  return undefined;
}

function invalid(group: string, message: string): OutboxError {
  return new OutboxError('OUTBOX_HANDLER_RESULT_INVALID', `group ${group}: ${message}`, {
    hint: 'report failures as { position, reason, retryable }, by the position of the event they are about; nothing of this batch is stored',
  });
}
