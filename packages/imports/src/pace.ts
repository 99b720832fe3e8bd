// How fast an import has been lately, and how long it will take at that.

export interface Pace {
  /** Null: it began a moment ago. */
  readonly rowsPerSecond: number | null;
  readonly secondsLeft: number | null;
}

interface Mark {
  readonly atMs: number;
  readonly rows: number;
  readonly bytes: number;
}

/** Long enough to be calm, short enough to notice a change. */
const WINDOW_MS = 10_000;
const SHORTEST_MS = 500;

export function createPace(total: number): (now: Mark) => Pace {
  const marks: Mark[] = [];
  return (now) => {
    marks.push(now);
    while (marks.length > 2 && now.atMs - (marks[1]?.atMs ?? 0) > WINDOW_MS) marks.shift();
    const first = marks[0] ?? now;
    const seconds = (now.atMs - first.atMs) / 1_000;
    if (seconds * 1_000 < SHORTEST_MS) return { rowsPerSecond: null, secondsLeft: null };
    const bytesPerSecond = (now.bytes - first.bytes) / seconds;
    return {
      rowsPerSecond: (now.rows - first.rows) / seconds,
      secondsLeft: bytesPerSecond > 0 ? Math.max(0, total - now.bytes) / bytesPerSecond : null,
    };
  };
}
