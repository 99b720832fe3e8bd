// What /metrics answers: a fresh rendering by the main thread, or its last one when it does not answer in time.

export interface Scrape {
  /** The main thread has sent its families. */
  arrived(text: string): void;
  /** Asks for fresh ones and waits at most `withinMs` for them. Scrapes at the same time share one question. */
  fresh(withinMs: number): Promise<void>;
  readonly text: string;
  readonly ageSeconds: number;
}

export function createScrape(ask: () => void): Scrape {
  let text = '';
  let arrivedAt = performance.now();
  let waiting: (() => void)[] = [];
  return {
    get text(): string {
      return text;
    },
    get ageSeconds(): number {
      return (performance.now() - arrivedAt) / 1_000;
    },
    arrived(fresh: string): void {
      text = fresh;
      arrivedAt = performance.now();
      const answered = waiting;
      waiting = [];
      for (const resolve of answered) resolve();
    },
    async fresh(withinMs: number): Promise<void> {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          resolve();
        };
        const timer = setTimeout(() => {
          waiting = waiting.filter((other) => other !== done);
          resolve();
        }, withinMs);
        waiting.push(done);
        if (waiting.length === 1) ask();
      });
    },
  };
}
