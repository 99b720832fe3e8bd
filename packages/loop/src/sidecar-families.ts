// The metric families that only the sidecar can tell the truth about: those that say whether the main thread lives.
// They are written here at scrape time, so that worker_up and /health come from the same reading.

import { unreadyReasons, type Observed } from './health-report.ts';

export interface SidecarFigures {
  readonly stalls: number;
  /** How old the rest of the scrape is. */
  readonly snapshotAgeSeconds: number;
}

/** Prometheus text, to be put after the main thread's families. */
export function renderSidecarFamilies(observed: Observed, figures: SidecarFigures): string {
  const { data, verdict, stuck } = observed;
  const labels = `worker="${data.worker}"`;
  const figure = (value: number): string => `{${labels}} ${value}`;
  return [
    ...family('worker_up', 'gauge', '1 while /health answers 200, 0 while it answers 503.', [
      figure(stuck.size === 0 ? 1 : 0),
    ]),
    ...family('worker_ready', 'gauge', '1 while /health/ready answers 200, 0 while it answers 503.', [
      figure(unreadyReasons(observed).length === 0 ? 1 : 0),
    ]),
    ...family(
      'worker_loop_up',
      'gauge',
      '1 while this loop turns, 0 while it is stuck.',
      data.loops.map(({ name }) => `{${labels},loop="${name}"} ${stuck.has(name) ? 0 : 1}`),
    ),
    ...family('worker_stalls_total', 'counter', 'Stalls found since the start, also those that recovered.', [
      figure(figures.stalls),
    ]),
    ...family(
      'worker_event_loop_beat_age_seconds',
      'gauge',
      'Since the event loop of the main thread last beat.',
      [figure(verdict.eventLoop.beatAgeMs / 1_000)],
    ),
    ...family(
      'worker_metrics_age_seconds',
      'gauge',
      'How old the figures of the main thread in this scrape are.',
      [figure(figures.snapshotAgeSeconds)],
    ),
  ].join('');
}

function family(name: string, type: string, help: string, series: readonly string[]): readonly string[] {
  return [
    `# HELP ${name} ${help}\n`,
    `# TYPE ${name} ${type}\n`,
    ...series.map((line) => `${name}${line}\n`),
  ];
}
