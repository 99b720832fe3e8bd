// How a log line looks, for the logger on the main thread and for the sidecar's thread, which writes its own.

import { createRequire } from 'node:module';
import type pinoPretty from 'pino-pretty';
import type { PrettyOptions } from 'pino-pretty';

export const logFormats = ['json', 'pretty'] as const;
export type LogFormat = (typeof logFormats)[number];

/** `silent` writes nothing. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** pino-pretty costs 60 ms to load and is for people: production never pays for it. */
export function loadPretty(): typeof pinoPretty {
  const loaded: typeof pinoPretty = createRequire(import.meta.url)('pino-pretty');
  return loaded;
}

export function prettyOptions(colorize: boolean): PrettyOptions {
  return {
    colorize,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'worker,loop',
    messageFormat: '{worker}{if loop}/{loop}{end}: {msg}',
    singleLine: false,
  };
}

export function isLogged(level: LogLevel, threshold: string): boolean {
  const lowest = logLevels.findIndex((known) => known === threshold);
  return logLevels.indexOf(level) >= (lowest === -1 ? 0 : lowest);
}
