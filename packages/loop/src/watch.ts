// The sidecar's watch over the clocks: a verdict ten times a second, and word of every stall and recovery.

import { nowMs, readClocks } from './liveness.ts';
import type { SidecarData } from './sidecar-messages.ts';
import { judge, type Verdict } from './verdict.ts';
import { createWakingHours } from './waking-hours.ts';

/** How often the clocks are read, in milliseconds. */
const READ_EVERY_MS = 100;
/** That many stale readings in a row make a stall. One alone may be the instant in which a machine wakes up. */
const STALE_READINGS = 3;

export const EVENT_LOOP = 'event-loop';

export interface Watch {
  /** The clocks as they are now. */
  verdict(): Verdict;
  /** The names of what is stuck: loops, or `event-loop`. Empty: all is well. */
  stuck(): ReadonlySet<string>;
  /** Stalls since the start. */
  stalls(): number;
  close(): void;
}

export interface WatchListener {
  /** `newly` has just been found stuck. */
  stalled(newly: readonly string[], verdict: Verdict): void;
  /** Nothing is stuck any more. */
  recovered(names: readonly string[], stalledMs: number): void;
}

export function startWatch(data: SidecarData, listener: WatchListener): Watch {
  const hours = createWakingHours(nowMs());
  const staleReadings = new Map<string, number>();
  let stuck: ReadonlySet<string> = new Set();
  let everStuck = new Set<string>();
  let stalledSince = 0;
  let stalls = 0;

  const verdict = (): Verdict => {
    // The clocks first: a beat between the two readings would else lie in the future, which is harmless, but so
    // would a suspension, which is not.
    const readings = readClocks(data.buffer);
    if (hours.observe(nowMs())) staleReadings.clear();
    return judge(readings, data, (sinceMs) => hours.age(sinceMs));
  };

  const read = (): void => {
    const now = verdict();
    const stale = new Set(now.loops.filter((loop) => loop.stale).map((loop) => loop.name));
    if (now.eventLoop.stale) stale.add(EVENT_LOOP);
    for (const name of staleReadings.keys()) if (!stale.has(name)) staleReadings.delete(name);
    for (const name of stale) staleReadings.set(name, (staleReadings.get(name) ?? 0) + 1);

    const before = stuck;
    stuck = new Set(
      [...stale].filter((name) => (staleReadings.get(name) ?? 0) >= STALE_READINGS || before.has(name)),
    );
    const newly = [...stuck].filter((name) => !before.has(name));
    if (before.size === 0 && stuck.size > 0) {
      stalls += 1;
      stalledSince = nowMs();
      everStuck = new Set();
    }
    for (const name of newly) everStuck.add(name);
    if (newly.length > 0) listener.stalled(newly, now);
    if (before.size > 0 && stuck.size === 0) listener.recovered([...everStuck], hours.age(stalledSince));
  };

  const timer = setInterval(read, READ_EVERY_MS);
  return {
    verdict,
    stuck: () => stuck,
    stalls: () => stalls,
    close: () => {
      clearInterval(timer);
    },
  };
}
