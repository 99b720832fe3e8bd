// What --help shows: usage, flags with their defaults, environment variables with their meanings.

import type { EnvironmentSchema } from './environment.ts';
import type { ValueFlag } from './flags.ts';

export interface HelpOptions {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly environment: EnvironmentSchema;
  /** Which variable a flag stands for. */
  readonly flagVariables: Readonly<Partial<Record<ValueFlag, string>>>;
}

const FLAGS: readonly { readonly flag: string; readonly value?: ValueFlag; readonly help: string }[] = [
  { flag: '--loop', help: 'run until stopped; without it: every loop ticks once, then exit' },
  { flag: '--batch-size N', value: 'batch-size', help: 'the most events in a batch' },
  { flag: '--interval S', value: 'interval', help: 'seconds between two polls of an idle loop' },
  { flag: '--idle-wait S', value: 'idle-wait', help: 'seconds that an idle loop waits to be woken' },
  { flag: '--[no-]listen-notify', value: 'listen-notify', help: 'be woken by the database, or only poll' },
  { flag: '--help', help: 'show this text' },
  { flag: '--version', help: 'show the name and the version' },
];

export function renderHelp(options: HelpOptions): string {
  const { name, version, description, environment, flagVariables } = options;
  const flags = FLAGS.map(({ flag, value, help }): Row => {
    if (value === undefined) return [flag, help];
    const variable = flagVariables[value];
    if (variable === undefined) return [flag, `${help} (of no effect in this worker)`];
    const standard = environment[variable]?.defaultText;
    return [flag, `${help} (default: ${variable}${standard === undefined ? '' : `, which is ${standard}`})`];
  });
  const variables = Object.entries(environment).map(
    ([key, { description: meaning, required, defaultText, secret }]): Row => {
      const notes = [
        ...(required ? ['required'] : []),
        ...(defaultText === undefined ? [] : [`default ${defaultText}`]),
        ...(secret ? ['secret'] : []),
      ];
      return [key, notes.length === 0 ? meaning : `${meaning} (${notes.join(', ')})`];
    },
  );
  return `${name} ${version}
${description}

Usage
  ${name} --loop                          run until stopped
  ${name}                                 every loop ticks once, then exit
  ${name} healthcheck [--check live|ready|startup] [--quiet]
  ${' '.repeat(name.length)}                                 ask the running worker; exit 0 or 1

Flags
${table(flags)}

Environment
${table(variables)}

Exit codes
  0  done, or drained after SIGTERM or SIGINT
  1  a fault: configuration, a port in use, a failed single tick, a loop that ended, a batch left behind
  2  a command line that cannot be understood
  128 + n  ended at once by a second signal
`;
}

type Row = readonly [string, string];

function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}
