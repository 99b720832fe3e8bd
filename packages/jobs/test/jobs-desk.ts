// A database with jobs for one file of tests, and those who work with them: whoever a test opened is stopped after it.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, inject } from 'vitest';
import { openJobs } from '../src/index.ts';
import type { Job, Jobs, Queue, QueueOptions } from '../src/index.ts';
import { newQueue } from './job-rows.ts';
import type { Numbered } from './job-rows.ts';
import { quiet } from './turn-loop.ts';

export interface JobsDesk {
  readonly database: TestDatabase;
  open(crashCheckSeconds?: number): Jobs;
  /** With a queue that is made already. */
  openWith(options?: QueueOptions): Promise<{ jobs: Jobs; queue: Queue<Numbered> }>;
}

/** To be called where hooks are. */
export function jobsDesk(): JobsDesk {
  let database: TestDatabase;
  const opened: Jobs[] = [];
  beforeAll(async () => {
    database = await createTestDatabase(inject('serverUrl'));
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(async (jobs) => jobs.stop()));
  });
  afterAll(async () => {
    await database.drop();
  });

  function open(crashCheckSeconds = 1): Jobs {
    const jobs = openJobs({ pool: database.pool, log: quiet, crashCheckSeconds });
    opened.push(jobs);
    return jobs;
  }

  return {
    get database() {
      return database;
    },
    open,
    async openWith(options = {}) {
      const jobs = open();
      const queue = newQueue(options);
      await jobs.ensureQueue(queue);
      return { jobs, queue };
    },
  };
}

export async function fetchOne(jobs: Jobs, queue: Queue<Numbered>): Promise<Job<Numbered>> {
  const [job] = await jobs.fetch(queue);
  if (job === undefined) throw new Error('there was no job');
  return job;
}

/** What a transaction of a test is ended by. */
export const rollBack: Error = new Error('roll back');
