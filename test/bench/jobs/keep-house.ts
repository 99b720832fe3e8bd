// A worker whose log is kept small: partitions cut ahead and dropped behind, as often as compressed time asks for.

import type { Loop, TickResult } from '@pulsebox/loop';
import { runBenchWorker, stopThisWorker } from '../harness/bench-worker.ts';
import type { Channel } from '../harness/channel.ts';
// What housekeeping does, without its minute of waiting after a drop that had nothing to do.
import { makeRoom } from '../../../packages/outbox/src/log/partitions.ts';
import { dropOldestPartition } from '../../../packages/outbox/src/upkeep/retention.ts';

export interface KeepHouseInput {
  readonly url: string;
  readonly keepSeconds: number;
  readonly partitionEvents: number;
}

const EVERY_MS = 250;

/** How many partitions were dropped. */
export default async function keepHouse(input: KeepHouseInput, channel: Channel): Promise<number> {
  const { url, keepSeconds, partitionEvents } = input;
  let dropped = 0;
  let isReady = false;
  void channel.stopped.then(stopThisWorker);
  await runBenchWorker({
    url,
    group: 'retention',
    batchSize: 1_000,
    handler: () => async () => undefined,
    variables: { OUTBOX_PARTITION_EVENTS: String(partitionEvents) },
    furtherLoops: ({ pool }): readonly Loop[] => [
      {
        name: 'compressed-housekeeping',
        cadenceMs: EVERY_MS,
        async tick(): Promise<TickResult> {
          await makeRoom(pool, partitionEvents);
          const { outcome } = await dropOldestPartition(pool, { keepSeconds });
          if (outcome === 'dropped') dropped += 1;
          return { events: 0, nextInMs: EVERY_MS };
        },
      },
    ],
    onTick(): void {
      if (!isReady) channel.ready();
      isReady = true;
    },
  });
  return dropped;
}
