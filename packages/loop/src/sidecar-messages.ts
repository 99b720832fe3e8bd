// What the main thread and the sidecar's thread say to each other. The clocks do not pass here: they are in shared
// memory, because a blocked main thread answers no messages.

import type { LogFormat } from './log-format.ts';
import type { LoopCheck } from './loop.ts';
import type { WatchedLoop } from './verdict.ts';

/** Warnings of each loop, by its name. */
export type LoopChecks = Readonly<Record<string, Readonly<Record<string, LoopCheck>>>>;

export interface SidecarData {
  readonly buffer: SharedArrayBuffer;
  readonly worker: string;
  readonly version: string;
  readonly loops: readonly WatchedLoop[];
  readonly eventLoopStaleMs: number;
  readonly port: number;
  /** undefined: every interface, IPv6 and IPv4. */
  readonly host: string | undefined;
  readonly logFormat: LogFormat;
  readonly logLevel: string;
  /** False while somebody debugs this process: our pause would end theirs. */
  readonly takeStacks: boolean;
}

export type ToSidecar =
  | { readonly type: 'metrics'; readonly text: string }
  | { readonly type: 'checks'; readonly checks: LoopChecks }
  | { readonly type: 'close' };

export type FromSidecar =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'failed'; readonly code: string | undefined; readonly message: string }
  | { readonly type: 'render' };
