// One breaker for each push service: one that is down is asked by a single request now and then, not by every delivery.

export interface BreakerOptions {
  /** So many failures in a row open it; refusals, when they are of so many users. Default 10. */
  readonly threshold?: number;
  /** How long it stays open at first, in milliseconds; it doubles from there. Default 1,000. */
  readonly firstMs?: number;
  /** Default 300,000. */
  readonly longestMs?: number;
  /** Milliseconds that only grow. Default performance.now. */
  readonly now?: () => number;
  /** A number in [0, 1). Default Math.random. */
  readonly random?: () => number;
  readonly onChange?: (origin: string, open: boolean) => void;
}

export type Admission =
  | { readonly admitted: true }
  | { readonly admitted: false; readonly retryInMs: number };

export interface BreakerFailure {
  /** How long the service asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /**
   * Whose subscription was refused, where the service itself is well and may mean that user alone: refusals of one user
   * in a row count as one. Otherwise anybody could have a service left alone, by ten broken subscriptions of it.
   */
  readonly refused?: string | undefined;
}

/** After `admit` said yes, exactly one of the others has to follow. */
export interface Breaker {
  admit(origin: string): Admission;
  succeeded(origin: string): void;
  failed(origin: string, failure?: BreakerFailure): void;
  /** The request was given up by us: it says nothing about the service. */
  abandoned(origin: string): void;
}

interface State {
  failures: number;
  /** Users that were refused since the last success. */
  readonly refused: Set<string>;
  /** How often it was opened since the last success. */
  openings: number;
  openUntilMs: number;
  open: boolean;
  probing: boolean;
}

/** Endpoints come from strangers: whoever makes up origins must not fill the memory. */
const MOST_ORIGINS = 1_000;

/** While one request finds out whether the service is back, the others look again this much later. */
const PROBE_MS = 1_000;

export function createBreaker(options: BreakerOptions = {}): Breaker {
  const { threshold = 10, firstMs = 1_000, longestMs = 300_000, now = () => performance.now() } = options;
  const { random = Math.random, onChange = () => undefined } = options;
  /** Origins without a failure since their last success are not in it. */
  const states = new Map<string, State>();

  function open(origin: string, state: State, retryAfterMs: number): void {
    const ceilingMs = Math.min(longestMs, firstMs * 2 ** Math.min(state.openings, 30));
    const waitMs = Math.max(ceilingMs / 2 + (ceilingMs / 2) * random(), Math.min(retryAfterMs, longestMs));
    state.openings += 1;
    state.openUntilMs = now() + waitMs;
    state.probing = false;
    if (!state.open) onChange(origin, true);
    state.open = true;
  }

  function forget(origin: string, state: State): void {
    states.delete(origin);
    if (state.open) onChange(origin, false);
  }

  function stateOf(origin: string): State {
    const known = states.get(origin);
    if (known !== undefined) return known;
    const [oldest] = states;
    if (states.size >= MOST_ORIGINS && oldest !== undefined) forget(...oldest);
    const made = {
      failures: 0,
      refused: new Set<string>(),
      openings: 0,
      openUntilMs: 0,
      open: false,
      probing: false,
    };
    states.set(origin, made);
    return made;
  }

  return {
    admit(origin): Admission {
      const state = states.get(origin);
      if (state === undefined || !state.open) return { admitted: true };
      const leftMs = state.openUntilMs - now();
      if (leftMs > 0) return { admitted: false, retryInMs: leftMs };
      if (state.probing) return { admitted: false, retryInMs: PROBE_MS };
      state.probing = true;
      return { admitted: true };
    },
    succeeded(origin): void {
      const state = states.get(origin);
      if (state !== undefined) forget(origin, state);
    },
    failed(origin, { retryAfterMs = 0, refused } = {}): void {
      const state = stateOf(origin);
      if (refused === undefined || !state.refused.has(refused)) state.failures += 1;
      if (refused !== undefined && state.refused.size < threshold) state.refused.add(refused);
      // What was under way when it opened fails as well, and says nothing new.
      const isNews = state.open ? state.probing && now() >= state.openUntilMs : state.failures >= threshold;
      if (isNews) open(origin, state, retryAfterMs);
    },
    abandoned(origin): void {
      const state = states.get(origin);
      if (state !== undefined) state.probing = false;
    },
  };
}
