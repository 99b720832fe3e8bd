// Random interleavings of writers, readers of lanes, deaths of readers, and changes of the number of lanes.

import fc from 'fast-check';
import type { Pool } from 'pg';
import { registerGroup } from '../src/group/consumer-group.ts';
import { finishResize } from '../src/group/finish-resize.ts';
import { openLaneSession } from '../src/lane/lane-session.ts';
import type { LaneSession } from '../src/lane/lane-session.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { faults } from './interleaving.ts';
import { labelOf } from './log-reader.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

const WRITERS = 4;
const KEYS = 7;
const MOST_LANES = 5;
const BATCH_SIZE = 3;

type Kind = 'touch' | 'emit' | 'commit' | 'rollback' | 'read' | 'die' | 'resize';

export interface LaneStep {
  readonly kind: Kind;
  readonly writer: number;
  readonly key: number;
  readonly count: number;
  readonly lane: number;
}

export const laneSteps: fc.Arbitrary<LaneStep[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 2, arbitrary: fc.constant<Kind>('touch') },
      { weight: 9, arbitrary: fc.constant<Kind>('emit') },
      { weight: 4, arbitrary: fc.constant<Kind>('commit') },
      { weight: 1, arbitrary: fc.constant<Kind>('rollback') },
      { weight: 9, arbitrary: fc.constant<Kind>('read') },
      { weight: 1, arbitrary: fc.constant<Kind>('die') },
      { weight: 1, arbitrary: fc.constant<Kind>('resize') },
    ),
    writer: fc.nat(WRITERS - 1),
    key: fc.nat(KEYS - 1),
    count: fc.integer({ min: 1, max: 5 }),
    lane: fc.nat(MOST_LANES - 1),
  }),
  { minLength: 30, maxLength: 110 },
);

export interface LanesOutcome {
  /** What went wrong: nothing is the right answer. */
  readonly faults: readonly string[];
  readonly resizes: number;
  readonly deliveredAtBarriers: number;
}

/** Takes the steps one after the other against the real log, then reads all lanes to the end. */
export async function playLanes(pool: Pool, steps: readonly LaneStep[]): Promise<LanesOutcome> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(pool, group, 'end');
  const sessions = new Map<number, LaneSession>();
  const writers: Writer[] = [];
  for (let n = 0; n < WRITERS; n += 1) writers.push(await openWriter(pool));
  const written = writers.map((): string[] => []);
  const lockedBy = new Map<string, number>();
  const committed: string[] = [];
  const delivered: string[] = [];
  const mayRepeat = new Set<string>();
  const repeated: string[] = [];
  let emitted = 0;
  let resizes = 0;
  let deliveredAtBarriers = 0;

  async function lanes(): Promise<number> {
    const { rows } = await pool.query<{ lanes: number }>(
      'select lanes from outbox.consumer_group where name = $1',
      [group],
    );
    return rows[0]!.lanes;
  }

  async function held(lane: number): Promise<LaneSession> {
    const known = sessions.get(lane);
    if (known !== undefined) return known;
    const opened = await openLaneSession(
      {
        db: pool,
        lane: { group, lane },
        holder: 'reader',
        leaseTtlMs: 600_000,
        batchSize: BATCH_SIZE,
        // A few labels: batches are cut as often as they are full.
        batchCharacters: 40,
        // It parks nothing.
        storeAndPark: () => Promise.reject(new Error('nothing is to be parked')),
      },
      {},
    );
    if (!opened.opened) throw new Error(`lane ${lane} is not to be had`);
    sessions.set(lane, opened.session);
    return opened.session;
  }

  async function closeAll(): Promise<void> {
    await Promise.all([...sessions.values()].map((session) => session.close()));
    sessions.clear();
  }

  function take(labels: readonly string[]): void {
    const before = new Set(delivered);
    for (const label of labels) {
      if (before.has(label) && !mayRepeat.has(label)) repeated.push(`duplicated: ${label}`);
      delivered.push(label);
    }
  }

  /** Whether there was anything to do. */
  async function read(lane: number, diesFirst: boolean): Promise<boolean> {
    const session = await held(lane);
    const batch = await session.current();
    if (batch.reached === 'barrier') {
      if (!(await finishResize(pool, group))) return false;
      await closeAll();
      return true;
    }
    if (batch.events.length === 0) return batch.reached === 'more';
    const labels = batch.events.map(labelOf);
    take(labels);
    if (session.state.barrier !== null) deliveredAtBarriers += labels.length;
    if (!diesFirst) {
      if (!(await session.advance(batch, [])).advanced) throw new Error('fenced');
      return true;
    }
    for (const label of labels) mayRepeat.add(label);
    await pool.query(
      `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
      [laneLeaseName({ group, lane })],
    );
    sessions.delete(lane);
    await held(lane);
    if ((await session.advance(batch, [])).advanced) throw new Error('a reader that was replaced has stored');
    await session.close();
    return true;
  }

  async function end(n: number, how: 'commit' | 'rollback'): Promise<void> {
    await writers[n]![how]();
    if (how === 'commit') committed.push(...written[n]!);
    written[n] = [];
    for (const [key, owner] of lockedBy) if (owner === n) lockedBy.delete(key);
  }

  async function doStep({ kind, writer, key, count, lane }: LaneStep): Promise<void> {
    switch (kind) {
      case 'touch':
        return await writers[writer]!.touch();
      case 'emit': {
        const name = `${group}:${key}`;
        if ((lockedBy.get(name) ?? writer) !== writer) return;
        lockedBy.set(name, writer);
        const labels = Array.from({ length: count }, () => `${name}#${(emitted += 1)}`);
        await writers[writer]!.emit(...labels);
        written[writer]!.push(...labels);
        return;
      }
      case 'commit':
      case 'rollback':
        return await end(writer, kind);
      case 'read':
      case 'die':
        await read(lane % (await lanes()), kind === 'die');
        return;
      case 'resize':
        resizes += 1;
        await closeAll();
        await resizeGroup({ pool, group, lanes: lane + 1, holder: 'operator', signal: AbortSignal.abort() });
        return;
    }
  }

  try {
    for (const step of steps) await doStep(step);
    for (let n = 0; n < WRITERS; n += 1) await end(n, n === 0 ? 'rollback' : 'commit');
    for (let busy = true; busy; ) {
      busy = false;
      // A read may end a change of lanes: there may be fewer after it.
      for (let lane = 0; lane < (await lanes()); lane += 1)
        while (lane < (await lanes()) && (await read(lane, false))) busy = true;
    }
  } finally {
    for (const writer of writers) await writer.close();
    // A run that the clock interrupts ends after its pool has.
    await closeAll().catch(() => undefined);
  }
  return {
    faults: [...repeated, ...faults(committed, [...new Set(delivered)])],
    resizes,
    deliveredAtBarriers,
  };
}
