// Drains what is there, and watches time, processor and memory meanwhile.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Where } from '../harness/contestant.ts';
import { contestantOf } from './contestant-of.ts';

export interface ConsumeInput {
  readonly contestant: string;
  readonly where: Where;
  readonly events: number;
  /** Collect garbage at each sample, and take what is left: for memory, since it takes time. */
  readonly collect?: boolean;
}

export interface ConsumeOutput {
  readonly elapsedMs: number;
  /** Of this process, from the first look to the last acknowledgement. */
  readonly cpuSeconds: number;
  /** Resident memory in MiB each time a twentieth of the events was done; the first is from before the first event. */
  readonly rssMiB: readonly number[];
  /** What is in use after a collection, on the heap and beside it, in MiB; empty unless it was asked for. */
  readonly retainedMiB: readonly number[];
}

const SAMPLES = 20;

export default async function consume({
  contestant: name,
  where,
  events,
  collect = false,
}: ConsumeInput): Promise<ConsumeOutput> {
  const { drain } = await contestantOf(name);
  if (drain === undefined) throw new Error(`${name} does not drain`);
  const rssMiB: number[] = [];
  const retainedMiB: number[] = [];
  const collectGarbage = collect ? garbageCollector() : undefined;
  const sample = (): void => {
    rssMiB.push(process.memoryUsage.rss() / 2 ** 20);
    if (collectGarbage === undefined) return;
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    retainedMiB.push((heapUsed + external) / 2 ** 20);
  };
  let startedAtMs = 0;
  let elapsedMs = 0;
  let cpuAtStart = process.cpuUsage();
  let cpuSeconds = 0;
  await drain.consume(where, events, {
    start(): void {
      sample();
      cpuAtStart = process.cpuUsage();
      startedAtMs = performance.now();
    },
    progress(done): void {
      if (done >= (events * rssMiB.length) / SAMPLES) sample();
    },
    stop(): void {
      elapsedMs = performance.now() - startedAtMs;
      const { user, system } = process.cpuUsage(cpuAtStart);
      cpuSeconds = (user + system) / 1e6;
    },
  });
  return { elapsedMs, cpuSeconds, rssMiB, retainedMiB };
}

/** Node hands it out under a flag, which a process can set for itself. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
