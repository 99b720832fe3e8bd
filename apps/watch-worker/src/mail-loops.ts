// The loops that keep mailboxes by the clock: watches renewed, silent ones looked at, gauges of all.

import { mailboxGauges, mailUpkeep } from '@pulsebox/gmail';
import { openJobs } from '@pulsebox/jobs';
import type { Environment, Logger, Loop, Registry } from '@pulsebox/loop';
import { mailTopicOf, openMail } from '@pulsebox/worker-base';
import type { mailUpkeepVariables, mailVariables } from '@pulsebox/worker-base';
import type { Pool } from 'pg';
import type { PubSubConfig } from './pubsub-variables.ts';

export interface MailLoopsOptions {
  readonly config: Environment<typeof mailVariables> & Environment<typeof mailUpkeepVariables> & PubSubConfig;
  readonly pool: Pool;
  readonly registry: Registry;
  readonly holder: string;
  readonly log: Logger;
}

export interface MailLoops {
  /** None when mail is not configured. */
  readonly loops: readonly Loop[];
  close(): Promise<void>;
}

export function mailLoops({ config, pool, registry, holder, log }: MailLoopsOptions): MailLoops {
  const mail = openMail(config, { pool, registry });
  if (mail?.metrics === undefined) {
    log.info('mail upkeep is off: GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET and ENCRYPTION_KEY are not all set');
    return { loops: [], close: () => Promise.resolve() };
  }
  const topic = mailTopicOf(config);
  log.info(
    { topic },
    topic === undefined ? 'mail upkeep; GMAIL_PUBSUB_TOPIC is not set: no watches' : 'mail upkeep',
  );
  const jobs = openJobs({ pool, log, schedules: true });
  const upkeep = mailUpkeep({
    mail,
    jobs,
    topic,
    renewBufferMs: config.GMAIL_WATCH_RENEW_BUFFER_HOURS * 3_600_000,
    silentMs: config.GMAIL_FALLBACK_SYNC_MINUTES * 60_000,
    keepDeletedMs: config.GMAIL_DELETED_MAIL_DAYS * 86_400_000,
    log,
  });
  return {
    loops: [upkeep, mailboxGauges({ pool, metrics: mail.metrics, holder, watching: topic !== undefined })],
    close: () => jobs.stop(),
  };
}
