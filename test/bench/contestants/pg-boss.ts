// pg-boss: fetch and complete, a thousand jobs at a time, two such loops at once.

import { PgBoss } from 'pg-boss';
import type { Contestant } from '../harness/contestant.ts';
import { payload } from '../harness/payload.ts';

const QUEUE = 'bench';
const BATCH = 1_000;

/** While one loop waits for the server, the other decodes: over a third faster than one, and three are no faster. */
const LOOPS = 2;

export const contestant: Contestant = {
  name: 'pg-boss',
  label: 'pg-boss 12',
  role: 'peer',
  setting: `12.35: fetch + complete, batches of 1,000, ${LOOPS} loops at once, no supervision, no scheduling`,
  keepsEvents: false,
  async install({ url }): Promise<void> {
    const boss = await start(url);
    await boss.createQueue(QUEUE);
    await boss.stop({ graceful: false });
  },
  drain: {
    async load({ url }, events): Promise<void> {
      const boss = await start(url);
      for (let first = 0; first < events; first += 5_000) {
        const size = Math.min(5_000, events - first);
        await boss.insert(
          QUEUE,
          Array.from({ length: size }, (_, n) => ({ data: payload(first + n) })),
        );
      }
      await boss.stop({ graceful: false });
    },
    async consume({ url }, events, clock): Promise<void> {
      const boss = await start(url);
      clock.start();
      let completed = 0;
      const loop = async (): Promise<void> => {
        for (;;) {
          const jobs = await boss.fetch(QUEUE, { batchSize: BATCH });
          if (jobs.length === 0) return;
          await boss.complete(
            QUEUE,
            jobs.map((job) => job.id),
          );
          completed += jobs.length;
          clock.progress(completed);
        }
      };
      await Promise.all(Array.from({ length: LOOPS }, loop));
      clock.stop();
      if (completed !== events) throw new Error(`expected ${events} jobs, got ${completed}`);
      await boss.stop({ graceful: false });
    },
  },
};

async function start(url: string): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: url, schedule: false, supervise: false });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  return boss;
}
