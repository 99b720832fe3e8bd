// What is under way from a commit to its arrival at a sink, and how long it took. An arrival may come before whoever
// wrote has heard of the commit: then it took no time.

interface Step {
  readonly version: number;
  /** The sink is to learn that there is nothing any more. */
  readonly gone: boolean;
  committedAtMs: number | undefined;
  arrivedAtMs: number | undefined;
}

export interface Journey {
  /** The write is committed. */
  committed(): void;
  /** It did not come to be. */
  abandoned(): void;
}

export class Journeys {
  /** Arrivals that nothing was waiting for. */
  unasked = 0;
  readonly #steps = new Map<string, Step[]>();
  #tookMs: number[] = [];

  /** Before the write, so that its arrival finds it. Versions of one id grow. */
  begin(id: string, { version = 0, gone = false } = {}): Journey {
    const step: Step = { version, gone, committedAtMs: undefined, arrivedAtMs: undefined };
    const steps = this.#steps.get(id) ?? [];
    this.#steps.set(id, [...steps, step]);
    return {
      committed: () => {
        step.committedAtMs = performance.now();
        this.#settle(id);
      },
      abandoned: () =>
        this.#keep(
          id,
          (this.#steps.get(id) ?? []).filter((one) => one !== step),
        ),
    };
  }

  /** The state of this version, and with it all that came before. */
  arrived(id: string, version = 0): void {
    this.#arrive(id, (step) => step.version <= version);
  }

  /** The sink was told that there is nothing: everything up to the first deletion is over. */
  gone(id: string): void {
    const deleted = (this.#steps.get(id) ?? []).find((step) => step.gone && step.arrivedAtMs === undefined);
    this.#arrive(id, (step) => deleted !== undefined && step.version <= deleted.version);
  }

  get underWay(): number {
    return [...this.#steps.values()].reduce((sum, steps) => sum + steps.length, 0);
  }

  /** Milliseconds that each took since the last call. */
  take(): readonly number[] {
    const taken = this.#tookMs;
    this.#tookMs = [];
    return taken;
  }

  #arrive(id: string, isThere: (step: Step) => boolean): void {
    const there = (this.#steps.get(id) ?? []).filter(
      (step) => step.arrivedAtMs === undefined && isThere(step),
    );
    if (there.length === 0) this.unasked += 1;
    const now = performance.now();
    for (const step of there) step.arrivedAtMs = now;
    this.#settle(id);
  }

  #settle(id: string): void {
    const left: Step[] = [];
    for (const step of this.#steps.get(id) ?? []) {
      if (step.committedAtMs === undefined || step.arrivedAtMs === undefined) left.push(step);
      else this.#tookMs.push(Math.max(0, step.arrivedAtMs - step.committedAtMs));
    }
    this.#keep(id, left);
  }

  #keep(id: string, steps: Step[]): void {
    if (steps.length === 0) this.#steps.delete(id);
    else this.#steps.set(id, steps);
  }
}
