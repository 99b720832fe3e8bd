// Which faults were said of late, so that one that lasts is said now and then instead of at every try.

const SAY_AGAIN_MS = 60_000;

export interface FaultMemory {
  /** Whether this one is news: another than the last, or the last was said a minute ago. Then it counts as said. */
  isNews(error: unknown): boolean;
  /** All is well: the next one is news. */
  forget(): void;
}

/** @param now milliseconds that only grow; default `performance.now` */
export function faultMemory(now: () => number = () => performance.now()): FaultMemory {
  let said: string | undefined;
  let saidAtMs = 0;
  return {
    isNews(error): boolean {
      const words = wordsOf(error);
      if (words === said && now() - saidAtMs < SAY_AGAIN_MS) return false;
      said = words;
      saidAtMs = now();
      return true;
    },
    forget(): void {
      said = undefined;
    },
  };
}

/** What tells faults apart. Numbers (positions, ports of connections, process ids) do not. */
function wordsOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name} ${error.message}` : String(error);
  return text.replaceAll(/\d+/g, '0');
}
