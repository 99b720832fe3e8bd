// Whether the worker's memory stays where it is, over a million events.

import { count, mib, percent } from '../harness/figures.ts';
import { runJob } from '../harness/child.ts';
import type { Scenario, ScenarioReport } from '../harness/scenario.ts';
import type { ConsumeInput, ConsumeOutput } from '../jobs/consume.ts';
import type { LoadInput } from '../jobs/load.ts';

const EVENTS = 1_000_000;

/** V8 grows and shrinks its young generation as it likes; a leak of 100 bytes an event would be 86 MiB. */
const FLAT_WITHIN = 1.15;

export const memory: Scenario = {
  name: 'memory',
  summary: 'resident memory of the worker over a million events',
  async run({ server, scale, progress }): Promise<ScenarioReport> {
    const events = Math.round(EVENTS * scale);
    const where = { url: await server.freshDatabase('bench_memory'), run: 'memory' };
    progress(`loading ${count(events)} events`);
    const load: LoadInput = { contestant: 'pulsebox', where, events };
    await runJob('load', load);
    await server.settle(where.url);
    const drain: ConsumeInput = { contestant: 'pulsebox', where, events };
    const { output, usage } = await runJob<ConsumeOutput>('consume', drain);
    const at = (share: number): number =>
      output.rssMiB[Math.round(share * (output.rssMiB.length - 1))] ?? Number.NaN;
    // Against a fixed mark: V8 grows its heap in steps, and a comparison of two halves says "flat" or "growing" by
    // which half a step happens to fall into.
    const growth = at(1) / at(0.1);
    return {
      title: `Memory: the worker's resident set over ${count(events)} events`,
      goals: [
        {
          text: `memory: flat, at the end at most ${percent(FLAT_WITHIN - 1)} above the mark of 10 %`,
          measured: `${mib(at(1))}, ${growth <= 1 ? '' : '+'}${percent(growth - 1)}`,
          met: growth <= FLAT_WITHIN,
        },
      ],
      tables: [
        {
          head: ['', 'before', '10 %', '25 %', '50 %', '75 %', 'end', 'peak'],
          rows: [
            [
              'resident',
              ...[0, 0.1, 0.25, 0.5, 0.75, 1].map((share) => mib(at(share))),
              mib(usage.peakRssMiB),
            ],
          ],
        },
      ],
      notes: ['The whole process: relay, housekeeping, metrics, and the sidecar on its thread.'],
      data: { events, rssMiB: output.rssMiB, peakRssMiB: usage.peakRssMiB, growth },
    };
  },
};
