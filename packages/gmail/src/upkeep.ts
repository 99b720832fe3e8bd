// What mailboxes need by the clock: watches renewed, silent ones looked at, what went long ago removed. A scheduled job, so that one process does it.

import type { Jobs } from '@pulsebox/jobs';
import { defineQueue, jobLoop } from '@pulsebox/jobs';
import type { Loop } from '@pulsebox/loop';
import type { Logger } from '@pulsebox/loop';
import type { Mail } from './mail.ts';
import { removeDeletedMail } from './remove-deleted.ts';
import { askSilentMailboxes } from './silent-mailboxes.ts';
import { renewWatches } from './watches.ts';

export interface MailUpkeepOptions {
  readonly mail: Mail;
  /** Opened with `schedules: true` in at least one process. */
  readonly jobs: Jobs;
  /** `projects/PROJECT/topics/TOPIC`. Undefined: nothing is watched, and mailboxes are only looked at when silent. */
  readonly topic: string | undefined;
  /** Watches that expire within this are renewed, in milliseconds. */
  readonly renewBufferMs: number;
  /** Mailboxes that were not synced for this long are looked at, in milliseconds. */
  readonly silentMs: number;
  /** Messages that went from their mailbox are kept for so long, in milliseconds. Default 30 days. */
  readonly keepDeletedMs?: number;
  readonly log: Logger;
}

export interface MailUpkeepReport {
  readonly renewed: number;
  readonly failed: number;
  readonly revoked: number;
  /** Silent mailboxes that are looked at now. */
  readonly asked: number;
  /** Messages that went long ago, whose rows were removed. */
  readonly removed: number;
}

/** Often enough that a mailbox is watched soon after it was connected; an empty round is two queries. */
const EVERY_MINUTES = 5;

const KEEP_DELETED_MS = 30 * 86_400_000;

/** Exclusive: a round that takes longer than the clock waits for is not overtaken by the next one. */
export const mailUpkeepQueue: ReturnType<typeof defineQueue<Record<string, never>>> = defineQueue<
  Record<string, never>
>('mail/upkeep', {
  attempts: 1,
  policy: 'exclusive',
});

/** One round, as the job does it. @throws the signal's reason; what the database throws */
export async function keepMailboxes(
  options: Omit<MailUpkeepOptions, 'jobs'>,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: () => void },
): Promise<MailUpkeepReport> {
  const { mail, topic, renewBufferMs, silentMs, keepDeletedMs = KEEP_DELETED_MS, log } = options;
  const watches =
    topic === undefined
      ? { renewed: 0, failed: 0, revoked: 0 }
      : await renewWatches(mail, { topic, renewBufferMs, log, signal, progress });
  const asked = await askSilentMailboxes(mail.pool, { silentMs, signal });
  const removed = await removeDeletedMail(mail.pool, { keepMs: keepDeletedMs, signal, progress });
  return { ...watches, asked, removed };
}

/** The loop that runs the rounds, in whichever process gets the job. */
export function mailUpkeep(options: MailUpkeepOptions): Loop {
  const { jobs, log } = options;
  let isScheduled = false;
  const loop = jobLoop({
    jobs,
    queue: mailUpkeepQueue,
    name: 'mail-upkeep',
    async handler(_job, { signal, progress }) {
      const report = await keepMailboxes(options, { signal, progress });
      if (Object.values(report).some((count) => count > 0)) log.info(report, 'mailboxes kept');
      return { outcome: 'completed', output: { ...report } };
    },
  });
  return {
    ...loop,
    async tick(context): ReturnType<Loop['tick']> {
      if (!isScheduled) {
        await jobs.ensureQueue(mailUpkeepQueue);
        await jobs.schedule(mailUpkeepQueue, {}, { cron: `*/${EVERY_MINUTES} * * * *` });
        // A first round now: whoever has just set it up should not have to wait for the clock.
        await jobs.send(mailUpkeepQueue, {});
        isScheduled = true;
      }
      return await loop.tick(context);
    },
  };
}
