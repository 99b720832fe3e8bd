// How workers share the lanes of a group, without a list of workers and without one that decides: each looks at who
// holds what, takes what is free, and asks for a lane of one who has at least two more than itself.
//
// Such a step makes the shares more even (the sum of their squares falls), so the steps come to an end, and at the end no
// worker has two more than another. Whoever holds nothing yet is unseen by the others, and is served by its own asking.

import type { LaneHolding } from './lane-holders.ts';

export interface LaneStep {
  /** To be taken now. */
  readonly take: readonly number[];
  /** Free, and more than a fair share: taken if nobody else has by the next look. */
  readonly left: readonly number[];
  /** To ask its holder for; undefined: nobody has two more. */
  readonly ask: number | undefined;
}

export interface Sharer {
  /** What the leases call it. */
  readonly me: string;
  /** Free lanes that were free for long enough to be taken beyond a fair share. */
  readonly leftLong: ReadonlySet<number>;
  /** A number in [0, 1): workers that look at once should not all want the same lane. */
  readonly random: number;
}

export function stepOf(holdings: readonly LaneHolding[], { me, leftLong, random }: Sharer): LaneStep {
  const count = new Map<string, number>([[me, 0]]);
  const free: number[] = [];
  for (const { lane, holder, wantedBy, expiresInMs } of holdings) {
    // A lane that was asked for is as good as handed over.
    const owner = expiresInMs > 0 ? (wantedBy ?? holder) : null;
    if (owner === null || (holder === null && owner === me)) free.push(lane);
    else count.set(owner, (count.get(owner) ?? 0) + 1);
  }
  const mine = count.get(me) ?? 0;
  const fair = Math.ceil(holdings.length / count.size);
  const offset = Math.floor(random * free.length);
  const turned = [...free.slice(offset), ...free.slice(0, offset)];
  const take = turned.filter((lane, n) => mine + n < fair || leftLong.has(lane));
  if (free.length > 0) return { take, left: free.filter((lane) => !take.includes(lane)), ask: undefined };

  const [richest, most] = [...count].reduce((a, b) => (b[1] > a[1] ? b : a));
  if (most < mine + 2) return { take, left: [], ask: undefined };
  const theirs = holdings.filter(({ holder, wantedBy }) => holder === richest && wantedBy === null);
  return { take, left: [], ask: theirs[Math.floor(random * theirs.length)]?.lane };
}
