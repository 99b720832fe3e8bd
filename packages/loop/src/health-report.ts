// The JSON of the health endpoints. Names, ages and our own sentences only: never an error of somebody else's.

import type { LoopChecks, SidecarData } from './sidecar-messages.ts';
import type { LoopVerdict, Verdict } from './verdict.ts';
import { EVENT_LOOP } from './watch.ts';

/** A body with its status code. */
export interface Report {
  readonly statusCode: 200 | 503;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Observed {
  readonly data: SidecarData;
  readonly verdict: Verdict;
  readonly stuck: ReadonlySet<string>;
  readonly checks: LoopChecks;
  /** Which loop's code blocks the main thread, where the inspector could tell. */
  readonly blockedBy: string | undefined;
}

/** `/health` and `/health/live`: do the loops turn? Asks nothing but the clocks. */
export function healthReport(observed: Observed): Report {
  const ok = observed.stuck.size === 0;
  return { statusCode: ok ? 200 : 503, body: { status: ok ? 'ok' : 'stuck', ...common(observed) } };
}

/** `/health/startup`: has the worker started, and does it turn? */
export function startupReport(observed: Observed): Report {
  const reasons = [
    ...(observed.verdict.state === 'starting' ? ['the worker has not started its loops yet'] : []),
    ...stuckReasons(observed),
  ];
  return reported(reasons, 'starting', observed);
}

/** `/health/ready`: may the worker take work, and does its work succeed? */
export function readyReport(observed: Observed): Report {
  return reported(unreadyReasons(observed), 'unready', observed);
}

export function unreadyReasons(observed: Observed): readonly string[] {
  const { state, loops } = observed.verdict;
  if (state === 'starting') return ['the worker has not started its loops yet'];
  if (state === 'draining') return ['the worker is stopping'];
  return [...stuckReasons(observed), ...loops.filter((loop) => !loop.ready).map(whyUnready)];
}

function whyUnready({ name, sinceSuccessMs, staleMs }: LoopVerdict): string {
  if (sinceSuccessMs === undefined) return `${name} has not had a successful tick yet`;
  return `the last successful tick of ${name} was ${seconds(sinceSuccessMs)} s ago, its stale time is ${seconds(staleMs)} s`;
}

function stuckReasons({ stuck }: Observed): readonly string[] {
  return [...stuck].map((name) => `${name} is stuck`);
}

function reported(reasons: readonly string[], word: string, observed: Observed): Report {
  const ok = reasons.length === 0;
  const status = ok ? 'ok' : observed.stuck.size > 0 ? 'stuck' : word;
  return { statusCode: ok ? 200 : 503, body: { status, ...(ok ? {} : { reasons }), ...common(observed) } };
}

function common({ data, verdict, stuck, checks, blockedBy }: Observed): Readonly<Record<string, unknown>> {
  const { eventLoop } = verdict;
  return {
    worker: data.worker,
    version: data.version,
    state: verdict.state,
    seconds_since_last_poll: seconds(verdict.sinceLastPollMs),
    uptime_seconds: seconds(verdict.uptimeMs),
    checks: {
      [EVENT_LOOP]: {
        status: stuck.has(EVENT_LOOP) ? 'stuck' : 'ok',
        seconds_since_beat: seconds(eventLoop.beatAgeMs),
        stale_after_seconds: seconds(eventLoop.staleMs),
        ...(blockedBy === undefined ? {} : { blocked_by: blockedBy }),
      },
      ...Object.fromEntries(
        verdict.loops.map((loop) => [loop.name, loopReport(loop, stuck, checks[loop.name])]),
      ),
    },
  };
}

function loopReport(
  loop: LoopVerdict,
  stuck: ReadonlySet<string>,
  warnings: LoopChecks[string] | undefined,
): Readonly<Record<string, unknown>> {
  const degraded = Object.values(warnings ?? {}).some((check) => check.status === 'degraded');
  return {
    status: stuck.has(loop.name) ? 'stuck' : degraded ? 'degraded' : 'ok',
    phase: loop.phase,
    seconds_since_beat: seconds(loop.silentMs),
    seconds_since_success: loop.sinceSuccessMs === undefined ? null : seconds(loop.sinceSuccessMs),
    stale_after_seconds: seconds(loop.staleMs),
    ...(warnings === undefined || Object.keys(warnings).length === 0 ? {} : { warnings }),
  };
}

function seconds(ms: number): number {
  return Math.round(ms) / 1_000;
}
