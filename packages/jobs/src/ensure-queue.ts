// Makes a queue, or brings one that is there to what is asked for.

import type { QueueResult } from 'pg-boss';
import type { Boss } from './boss.ts';
import { JobsError } from './jobs-error.ts';
import type { Queue } from './queue.ts';

/** No job has it. Asking for it makes pg-boss remember the queue, so that a send in a transaction need not ask. */
const NO_JOB = '00000000-0000-0000-0000-000000000000';

/**
 * Idempotent, and safe with any number of processes at once: pg-boss makes queues under an advisory lock, and the first
 * one wins. Options other than the policy are brought up to date; they hold for jobs that are sent from then on.
 *
 * @throws JOBS_QUEUE_POLICY
 */
export async function ensureQueue(boss: Boss, queue: Queue): Promise<void> {
  await boss.use(async (pgboss) => {
    const wanted = bossOptions(queue);
    await pgboss.createQueue(queue.name, { policy: queue.policy, ...wanted });
    const found = await pgboss.getQueue(queue.name);
    if (found?.policy !== queue.policy) throw otherPolicy(queue, found);
    const differs = (Object.keys(wanted) as (keyof typeof wanted)[]).some(
      (key) => found[key] !== wanted[key],
    );
    if (differs) await pgboss.updateQueue(queue.name, wanted);
    await pgboss.findJobs(queue.name, { id: NO_JOB });
  });
}

function bossOptions(queue: Queue): {
  retryLimit: number;
  retryDelay: number;
  retryDelayMax: number;
  retryBackoff: true;
  expireInSeconds: number;
  heartbeatSeconds: number;
  deleteAfterSeconds: number;
  retentionSeconds: number;
} {
  return {
    retryLimit: queue.attempts - 1,
    retryDelay: queue.retryDelaySeconds,
    retryDelayMax: queue.retryDelayMaxSeconds,
    retryBackoff: true,
    expireInSeconds: queue.timeoutSeconds,
    heartbeatSeconds: queue.heartbeatSeconds,
    deleteAfterSeconds: queue.keepFinishedSeconds,
    retentionSeconds: queue.keepWaitingSeconds,
  };
}

function otherPolicy(queue: Queue, found: QueueResult | null): JobsError {
  return new JobsError(
    'JOBS_QUEUE_POLICY',
    `expected the queue ${queue.name} to have the policy ${queue.policy}, got ${found?.policy ?? 'no queue'}`,
    {
      hint: 'the policy of a queue cannot be changed: give the new one another name and let the old one run dry',
    },
  );
}
