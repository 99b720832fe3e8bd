// Sees every event of the log as the bridge publishes it: each position once, those of a key in order. It remembers how
// far it has come and what was missing on the way there, not every event.

export class LogWitness {
  /** Events that came again. */
  twofold = 0;
  /** Events that came after a later one of their key. */
  inverted = 0;
  published = 0;
  #highest = 0;
  readonly #missing = new Set<number>();
  readonly #seenInLog = new Set<number>();
  readonly #lastOfKey = new Map<string, number>();
  #tookMs: number[] = [];

  saw(position: number, key: string, tookMs: number): void {
    this.published += 1;
    this.#tookMs.push(tookMs);
    if (position > this.#highest) {
      for (let between = this.#highest + 1; between < position; between += 1) this.#missing.add(between);
      this.#highest = position;
    } else if (!this.#missing.delete(position)) {
      this.twofold += 1;
      return;
    }
    this.#seenInLog.delete(position);
    if (key === '') return;
    if (position < (this.#lastOfKey.get(key) ?? 0)) this.inverted += 1;
    else this.#lastOfKey.set(key, position);
  }

  /** Numbers below the highest that did not come: of transactions that rolled back, or are yet to come, or lost. */
  get missing(): readonly number[] {
    return [...this.#missing];
  }

  /** These of the missing are in the log: committed, so they have to come. */
  areInLog(positions: readonly number[]): void {
    for (const position of positions) if (this.#missing.has(position)) this.#seenInLog.add(position);
  }

  /** Committed, and not published. */
  get lost(): number {
    return this.#seenInLog.size;
  }

  take(): readonly number[] {
    const taken = this.#tookMs;
    this.#tookMs = [];
    return taken;
  }
}
