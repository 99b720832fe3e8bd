// Consumes events as they come, and remembers when each reached its handler.

import type { Channel } from '../harness/channel.ts';
import type { Where } from '../harness/contestant.ts';
import { contestantOf } from './contestant-of.ts';

export interface ConsumeLiveInput {
  readonly contestant: string;
  readonly where: Where;
}

/** By id: milliseconds since 1970, with fractions. Ids that never came have no entry. */
export type Times = readonly (readonly [id: number, atMs: number])[];

export default async function consumeLive(
  { contestant: name, where }: ConsumeLiveInput,
  channel: Channel,
): Promise<Times> {
  const { latency } = await contestantOf(name);
  if (latency === undefined) throw new Error(`${name} has no latency to measure`);
  const times: [number, number][] = [];
  const stop = await latency.consume(where, (id) => {
    times.push([id, performance.timeOrigin + performance.now()]);
  });
  channel.ready();
  await channel.stopped;
  await stop();
  return times;
}
