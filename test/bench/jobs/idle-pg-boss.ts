// A pod of pg-boss with nothing to do: a worker on each of some queues, everything else as its authors set it.

import { PgBoss } from 'pg-boss';
import type { Channel } from '../harness/channel.ts';

export interface IdlePeerInput {
  readonly url: string;
  readonly queues: readonly string[];
}

export default async function idlePgBoss({ url, queues }: IdlePeerInput, channel: Channel): Promise<void> {
  const boss = new PgBoss({ connectionString: url });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  for (const queue of queues) {
    await boss.createQueue(queue);
    await boss.work(queue, async () => undefined);
  }
  channel.ready();
  await channel.stopped;
  await boss.stop({ graceful: false });
}
