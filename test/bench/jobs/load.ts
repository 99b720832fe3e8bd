// Makes a contestant's schema and puts its events in.

import type { Where } from '../harness/contestant.ts';
import { contestantOf } from './contestant-of.ts';

export interface LoadInput {
  readonly contestant: string;
  readonly where: Where;
  /** 0: only the schema. */
  readonly events: number;
}

export default async function load({ contestant: name, where, events }: LoadInput): Promise<void> {
  const contestant = await contestantOf(name);
  await contestant.install(where);
  if (events > 0) await contestant.drain?.load(where, events);
}
