// What a loop is. A worker runs any number of them; the library turns them, watches them and stops them.

import type { Logger } from 'pino';

export type { Logger };

/** What one turn of a loop may use. */
export interface TickContext {
  /** Aborted when the tick's deadline has passed, or when the drain time of a stopping worker is over. */
  readonly signal: AbortSignal;
  /** Aborted as soon as the worker is asked to stop: finish what is in flight, take nothing new. */
  readonly stopping: AbortSignal;
  /** A long tick calls this as it makes progress; without it a tick that outlives the stale time is stalled. */
  progress(): void;
  readonly log: Logger;
}

/** How a turn ended. `undefined` is the same as `{ events: 0 }`: an empty poll. */
export interface TickResult {
  /** Events handled. 0 is an empty poll: no batch is counted, no duration observed. */
  readonly events: number;
  /** How long the loop may rest before its next turn, in milliseconds. Default: 0 after events, else the cadence. */
  readonly nextInMs?: number;
}

/** `degraded` is a warning for people: it shows in `/health` but never turns it into a 503. */
export interface LoopCheck {
  readonly status: 'ok' | 'degraded';
  /** One sentence. Never a DSN, a token or a raw error. */
  readonly detail?: string;
}

export interface Loop {
  /** Unique in its worker: lower-case letters, digits, hyphens. */
  readonly name: string;
  /** The longest an idle loop rests between two ticks, in milliseconds. Its stale time is a multiple of this. */
  readonly cadenceMs: number;
  /** The longest a tick may take, in milliseconds; then its signal is aborted and an error counted. Default 900_000. */
  readonly deadlineMs?: number;
  /** One turn. Throwing counts an error; the loop backs off and turns again. */
  tick(context: TickContext): Promise<TickResult | undefined>;
  /** Rests until `ms` have passed, something calls for a turn, or `signal` aborts. Default: a timer. */
  rest?(ms: number, signal: AbortSignal): Promise<void>;
  /** Called once after the last tick, when nothing is in flight: give leases back. */
  stop?(): Promise<void>;
  /** Warnings about this loop for `/health`, such as a lost LISTEN connection, by a name out of a closed set. */
  checks?(): Readonly<Record<string, LoopCheck>>;
}
