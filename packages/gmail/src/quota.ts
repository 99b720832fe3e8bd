// Google counts units: 15,000 a minute for a mailbox, 1,200,000 for all of a project. Who stays below is never refused.

import { setTimeout as delay } from 'node:timers/promises';

export interface Quota {
  /** Waits until so many units may be spent, and spends them. @throws the signal's reason */
  take(units: number, waiting: QuotaWaiting): Promise<void>;
  /** Google asked to be left alone: nothing is spent for so long. */
  pause(ms: number): void;
  /** How long that is yet, in milliseconds. */
  pausedMs(): number;
}

export interface QuotaWaiting {
  readonly signal: AbortSignal;
  /** Called while it waits: this is no stall. */
  readonly progress?: (() => void) | undefined;
}

export interface QuotaOptions {
  /** How many units may be spent in any minute, however they are spread. */
  readonly unitsPerMinute: number;
  /** Milliseconds of a clock that only goes forward. Default `performance.now`. */
  readonly now?: () => number;
}

/** Of a mailbox, in any minute. */
export const MAILBOX_UNITS_PER_MINUTE = 15_000;
/** Of a project, in any minute. */
export const PROJECT_UNITS_PER_MINUTE = 1_200_000;

/** The share of a minute's units that may be spent at once; the rest trickles in. Both together make the minute. */
const BURST_SHARE = 1 / 6;
const MINUTE_MS = 60_000;
const PROGRESS_EVERY_MS = 1_000;

/** Of mailboxes, each with its own. What was spent stays spent when a mailbox is opened again a moment later. */
export interface MailboxQuotas {
  of(connectionId: string): Quota;
}

/** A bucket is full again after this time at rest, and a new one is as good. */
const FORGET_AFTER_MS = 2 * 60_000;

export function createMailboxQuotas({ unitsPerMinute, now = monotonic }: QuotaOptions): MailboxQuotas {
  const quotas = new Map<string, { readonly quota: ReturnType<typeof createQuota>; usedAt: number }>();
  let sweptAt = now();

  function sweep(): void {
    const time = now();
    if (time - sweptAt < FORGET_AFTER_MS) return;
    sweptAt = time;
    for (const [id, { quota, usedAt }] of quotas)
      if (time - usedAt >= FORGET_AFTER_MS && quota.isFull()) quotas.delete(id);
  }

  return {
    of(connectionId): Quota {
      sweep();
      const known = quotas.get(connectionId) ?? { quota: createQuota({ unitsPerMinute, now }), usedAt: 0 };
      known.usedAt = now();
      quotas.set(connectionId, known);
      return known.quota;
    },
  };
}

function monotonic(): number {
  return performance.now();
}

/**
 * A bucket that is full at the start. It holds a sixth of a minute's units, and five sixths flow in a minute, so that
 * no minute sees more than its units, wherever it is laid.
 */
export function createQuota(
  options: QuotaOptions,
): Quota & { reserve(units: number): number; isFull(): boolean } {
  const { unitsPerMinute, now = monotonic } = options;
  const msPerUnit = MINUTE_MS / (unitsPerMinute * (1 - BURST_SHARE));
  const burstMs = unitsPerMinute * BURST_SHARE * msPerUnit;
  // When the bucket would be full again; how far that is ahead is what has been spent of it.
  let fullAt = now();
  let pausedUntil = 0;

  /** Spends units, and returns how many milliseconds there are to wait until they may be used. */
  function reserve(units: number): number {
    const time = now();
    fullAt = Math.max(fullAt, time) + units * msPerUnit;
    return Math.max(0, fullAt - burstMs - time, pausedUntil - time);
  }

  return {
    reserve,
    isFull: () => Math.max(fullAt, pausedUntil) <= now(),
    async take(units, { signal, progress }): Promise<void> {
      signal.throwIfAborted();
      let waitMs = reserve(units);
      while (waitMs > 0) {
        const restMs = Math.min(waitMs, PROGRESS_EVERY_MS);
        await delay(restMs, undefined, { signal }).catch(() => signal.throwIfAborted());
        progress?.();
        // A pause may have come meanwhile; what was reserved stays reserved.
        waitMs = Math.max(waitMs - restMs, pausedUntil - now());
      }
    },
    pausedMs: () => Math.max(0, pausedUntil - now()),
    pause(ms): void {
      pausedUntil = Math.max(pausedUntil, now() + ms);
    },
  };
}
