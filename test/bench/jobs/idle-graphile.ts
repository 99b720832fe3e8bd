// A pod of graphile-worker with nothing to do: one runner for all tasks, as its authors set it.

import { run } from 'graphile-worker';
import { quiet } from '../contestants/graphile-task.ts';
import type { Channel } from '../harness/channel.ts';
import type { IdlePeerInput } from './idle-pg-boss.ts';

export default async function idleGraphile({ url, queues }: IdlePeerInput, channel: Channel): Promise<void> {
  const runner = await run({
    connectionString: url,
    logger: quiet,
    noHandleSignals: true,
    taskList: Object.fromEntries(queues.map((queue) => [queue, () => undefined])),
  });
  channel.ready();
  await channel.stopped;
  await runner.stop();
}
