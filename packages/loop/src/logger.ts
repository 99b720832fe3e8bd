// The log: one JSON object a line on standard output, or coloured text for people.

import { isatty } from 'node:tty';
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { loadPretty, prettyOptions, type LogFormat, type LogLevel } from './log-format.ts';
import { REDACTED, redactFields, redactText } from './redact.ts';

export type { Logger } from 'pino';

export interface LoggerOptions {
  readonly worker: string;
  /** Default `json`. */
  readonly format?: LogFormat;
  /** Default `info`. */
  readonly level?: LogLevel;
  /** What every line says besides, asked as it is written: of the trace that it belongs to, for instance. Must not throw. */
  readonly fields?: () => Readonly<Record<string, string>>;
  /** Where JSON lines go instead of standard output, for tests. */
  readonly destination?: DestinationStream;
}

// Errors are described by redactFields, before pino would look at them. The bindings of a child logger do not pass
// through it, so the names that matter most are caught here as well.
const serializers: Record<string, (value: unknown) => unknown> = {
  err: (value) => value,
  ...Object.fromEntries(
    ['password', 'secret', 'token', 'authorization', 'cookie', 'apiKey', 'dsn', 'databaseUrl'].map((name) => [
      name,
      () => REDACTED,
    ]),
  ),
};

const FORMAT = Symbol('pulsebox.log-format');

/**
 * Lines carry `level` as a word, `time` in ISO 8601, `worker` and `msg`; errors under `err` with code, hint and cause.
 * Writing is synchronous, so that the last line before an exit is never the one that is missing.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { worker, format = 'json', level = 'info', fields } = options;
  const log = pino(
    {
      level,
      base: { worker },
      timestamp: stdTimeFunctions.isoTime,
      serializers,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => redactFields(fields),
      },
      hooks: { streamWrite: redactText },
      ...(fields === undefined ? {} : { mixin: () => ({ ...fields() }) }),
    },
    options.destination ?? standardOutput(format),
  );
  return Object.assign(log, { [FORMAT]: format });
}

/** The format of a logger made here, or of any child of one; `json` for a logger made elsewhere. */
export function logFormatOf(log: Logger): LogFormat {
  const format: LogFormat | undefined = Reflect.get(log, FORMAT);
  return format ?? 'json';
}

function standardOutput(format: LogFormat): DestinationStream {
  if (format === 'json') return pino.destination({ fd: 1, sync: true });
  return loadPretty().build({ ...prettyOptions(isatty(1)), destination: 1, sync: true });
}
