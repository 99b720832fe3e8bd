// Whether the worker's memory stays where it is, over a million events.

import { count, mib, percent } from '../harness/figures.ts';
import { asDeployed } from '../harness/as-deployed.ts';
import { runJob } from '../harness/child.ts';
import type { Scenario, ScenarioReport } from '../harness/scenario.ts';
import type { ConsumeInput, ConsumeOutput } from '../jobs/consume.ts';
import type { LoadInput } from '../jobs/load.ts';

const EVENTS = 1_000_000;

/** A leak of 100 bytes an event would be 86 MiB. */
const FLAT_WITHIN = 1.15;
/** What is left after a collection is ours alone: nothing of it may come from the number of events. */
const RETAINED_WITHIN_MIB = 5;

const MARKS = [0, 0.1, 0.25, 0.5, 0.75, 1];

export const memory: Scenario = {
  name: 'memory',
  summary: 'resident memory of the worker over a million events, and what a collection leaves of it',
  async run({ server, scale, progress }): Promise<ScenarioReport> {
    const events = Math.round(EVENTS * scale);
    const where = { url: await server.freshDatabase('bench_memory'), run: 'memory' };
    progress(`loading ${count(events)} events`);
    const load: LoadInput = { contestant: 'pulsebox', where, events };
    await runJob('load', load);
    await server.settle(where.url);
    progress('draining them as they are');
    const drain: ConsumeInput = { contestant: 'pulsebox', where, events };
    const { output, usage } = await runJob<ConsumeOutput>('consume', drain, asDeployed('worker'));
    progress('draining them with collections in between');
    const collected: ConsumeInput = {
      ...drain,
      where: { ...where, run: 'memory-collected' },
      collect: true,
    };
    const { output: left } = await runJob<ConsumeOutput>('consume', collected, asDeployed('worker'));
    const at = (samples: readonly number[], share: number): number =>
      samples[Math.round(share * (samples.length - 1))] ?? Number.NaN;
    // Against a fixed mark: V8 grows its heap in steps, and a comparison of two halves says "flat" or "growing" by
    // which half a step happens to fall into.
    const growth = at(output.rssMiB, 1) / at(output.rssMiB, 0.1);
    const retained = at(left.retainedMiB, 1) - at(left.retainedMiB, 0.1);
    const row = (label: string, samples: readonly number[], peak: string): string[] => [
      label,
      ...MARKS.map((share) => mib(at(samples, share))),
      peak,
    ];
    return {
      title: `Memory: the worker over ${count(events)} events`,
      goals: [
        {
          text: `memory: resident, at the end at most ${percent(FLAT_WITHIN - 1)} above the mark of 10 %`,
          measured: `${mib(at(output.rssMiB, 1))}, ${growth <= 1 ? '' : '+'}${percent(growth - 1)}`,
          met: growth <= FLAT_WITHIN,
        },
        {
          text: `memory: left after a collection, at the end at most ${RETAINED_WITHIN_MIB} MiB above the mark of 10 %`,
          measured: `${mib(at(left.retainedMiB, 1))}, ${retained <= 0 ? '' : '+'}${retained.toFixed(1)} MiB`,
          met: retained <= RETAINED_WITHIN_MIB,
        },
      ],
      tables: [
        {
          head: ['', 'before', '10 %', '25 %', '50 %', '75 %', 'end', 'peak'],
          rows: [
            row('resident', output.rssMiB, mib(usage.peakRssMiB)),
            row('left after a collection', left.retainedMiB, '-'),
          ],
        },
      ],
      notes: [
        'Resident is the whole process: relay, housekeeping, metrics, and the sidecar on its thread. Its heap has the bounds of worker in k8s/base: without them, V8 lets the young generation grow while there is much to allocate and memory to be had, and gives it back late. What a collection leaves, on the main thread, in a drain by itself, is what the program holds.',
      ],
      data: {
        events,
        rssMiB: output.rssMiB,
        retainedMiB: left.retainedMiB,
        peakRssMiB: usage.peakRssMiB,
        growth,
      },
    };
  },
};
