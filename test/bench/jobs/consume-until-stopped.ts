// A worker that goes on until it is told to stop, and remembers when it handed over and stored what.

import { setTimeout as sleep } from 'node:timers/promises';
import { runBenchWorker, stopThisWorker } from '../harness/bench-worker.ts';
import type { Channel } from '../harness/channel.ts';

export interface ConsumeUntilStoppedInput {
  readonly url: string;
  readonly group: string;
  readonly furtherGroups?: readonly string[];
  readonly batchSize: number;
  /** How long the sink takes for a batch, in milliseconds. 0: the handler does nothing. */
  readonly sinkMs: number;
  readonly variables?: Readonly<Record<string, string>>;
}

/** Of one batch: when, in milliseconds since 1970 with fractions, and how many events. */
export type Moment = readonly [atMs: number, events: number];

export interface ConsumeUntilStoppedOutput {
  readonly handled: readonly Moment[];
  readonly stored: readonly Moment[];
}

export default async function consumeUntilStopped(
  { sinkMs, ...options }: ConsumeUntilStoppedInput,
  channel: Channel,
): Promise<ConsumeUntilStoppedOutput> {
  const handled: Moment[] = [];
  const stored: Moment[] = [];
  let isReady = false;
  void channel.stopped.then(stopThisWorker);
  await runBenchWorker({
    ...options,
    handler:
      () =>
      async ({ events }) => {
        handled.push([now(), events.length]);
        if (sinkMs > 0) await sleep(sinkMs);
      },
    onTick(events): void {
      if (events > 0) stored.push([now(), events]);
      if (!isReady) channel.ready();
      isReady = true;
    },
  });
  return { handled, stored };
}

function now(): number {
  return performance.timeOrigin + performance.now();
}
