// What an operator reads of failed events: a line for what was parked, for what was delivered after all, and for each
// dead letter, but for no more of them than a person would read.

import type { Logger } from '@pulsebox/loop';
import type { OutboxEvent } from '../log/event.ts';
import type { EventToPark, FailedAttempt } from './park.ts';

/** Dead letters of one batch that get a line each. */
const LINES_PER_BATCH = 5;

/** Of a batch that was stored. */
export function logParked(log: Logger, group: string, events: readonly EventToPark[]): void {
  const failed = events.filter(hasFailed);
  const retried = failed.filter((one) => one.failed.verdict.state === 'parked');
  const waiting = events.length - failed.length;
  const [first] = retried;
  if (first !== undefined) {
    const { event, failed: attempt } = first;
    log.warn(
      { group, parked: retried.length, waiting, ...nameOf(event), reason: attempt.failure.reason },
      'parked events that failed: they are tried again, and hold back later ones of their keys where order is kept',
    );
  } else if (waiting > 0) {
    log.debug({ group, waiting }, 'parked events behind others of their keys');
  }
  logDeadLetters(log, group, failed);
}

/** Of attempts at parked events that have ended. */
export function logRedriven(
  log: Logger,
  group: string,
  ended: {
    readonly delivered: readonly { readonly event: OutboxEvent; readonly attempts: number }[];
    readonly failed: readonly { readonly event: OutboxEvent; readonly failed: FailedAttempt }[];
  },
): void {
  const late = ended.delivered.filter(({ attempts }) => attempts > 1);
  const [first] = late;
  if (first !== undefined) {
    const { event, attempts } = first;
    log.info(
      { group, delivered: late.length, ...nameOf(event), attempts },
      'delivered parked events after failures',
    );
  }
  const again = ended.failed.filter((one) => one.failed.verdict.state === 'parked');
  const [worst] = again;
  if (worst !== undefined) {
    const { event, failed } = worst;
    log.warn(
      {
        group,
        failed: again.length,
        ...nameOf(event),
        attempts: failed.attempts,
        reason: failed.failure.reason,
      },
      'parked events failed again',
    );
  }
  logDeadLetters(log, group, ended.failed);
}

function logDeadLetters(
  log: Logger,
  group: string,
  failed: readonly { readonly event: OutboxEvent; readonly failed: FailedAttempt }[],
): void {
  const dead = failed.filter((one) => one.failed.verdict.state === 'dead');
  for (const { event, failed: attempt } of dead.slice(0, LINES_PER_BATCH)) {
    const { attempts, failure } = attempt;
    log.error(
      { group, ...nameOf(event), attempts, reason: failure.reason },
      'dead letter: this event is not tried again until somebody replays it',
    );
  }
  if (dead.length > LINES_PER_BATCH)
    log.error({ group, more: dead.length - LINES_PER_BATCH }, 'and more dead letters of the same batch');
}

function hasFailed(one: EventToPark): one is EventToPark & { readonly failed: FailedAttempt } {
  return one.failed !== undefined;
}

function nameOf({ position, topic, key }: OutboxEvent): object {
  return { position, topic, key };
}
