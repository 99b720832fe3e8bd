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
    messageFormat: (line, messageKey) => {
      const [worker, loop, message] = ['worker', 'loop', messageKey].map((key) => textOf(line[key]));
      return `${worker}${loop === '' ? '' : `/${loop}`}: ${indented(message ?? '')}`;
    },
    singleLine: false,
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Words of strangers come with errors, too: only what we write ourselves begins a line, or moves a terminal. */
function indented(message: string): string {
  return message.replaceAll(/(?!\n)[\p{Cc}\p{Cf}]/gu, ' ').replaceAll('\n', '\n    ');
}

export function isLogged(level: LogLevel, threshold: string): boolean {
  const lowest = logLevels.findIndex((known) => known === threshold);
  return logLevels.indexOf(level) >= (lowest === -1 ? 0 : lowest);
}
