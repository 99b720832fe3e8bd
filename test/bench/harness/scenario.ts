// A scenario measures one thing and says what it found: figures for people, goals, and raw data for machines.

import type { BenchServer } from './bench-server.ts';

export interface ScenarioContext {
  readonly server: BenchServer;
  /** Undefined where no redis-server was found. */
  readonly redisUrl: string | undefined;
  /** 1, or 0.1 with --quick: sizes and durations are multiplied by it. */
  readonly scale: number;
  readonly repeat: number;
  /** Says what is being done, for whoever watches. */
  readonly progress: (line: string) => void;
}

export interface Scenario {
  readonly name: string;
  /** One line for --help. */
  readonly summary: string;
  run(context: ScenarioContext): Promise<ScenarioReport>;
}

export interface ScenarioReport {
  readonly title: string;
  readonly goals: readonly Goal[];
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  readonly data: unknown;
}

export interface Goal {
  readonly text: string;
  /** What was measured, with its unit: `7.4 ×`. */
  readonly measured: string;
  readonly met: boolean;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}
