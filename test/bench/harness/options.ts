// The command line of `npm run bench`.

import { parseArgs } from 'node:util';

export interface BenchOptions {
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly jsonFile: string | undefined;
  readonly repeat: number;
  readonly help: boolean;
}

const DEFAULT_REPEAT = 3;

/** @throws Error with a sentence for the user */
export function parseOptions(argv: readonly string[], scenarioNames: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: 'string', multiple: true },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      repeat: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const only = (values.only ?? []).flatMap((names) => names.split(','));
  for (const name of only) {
    if (!scenarioNames.includes(name))
      throw new Error(`expected --only to name one of ${scenarioNames.join(', ')}, got "${name}"`);
  }
  const repeat = values.repeat === undefined ? (values.quick ? 1 : DEFAULT_REPEAT) : Number(values.repeat);
  if (!Number.isInteger(repeat) || repeat < 1)
    throw new Error(`expected --repeat to be a whole number from 1 up, got "${values.repeat}"`);
  return { only, quick: values.quick, jsonFile: values.json, repeat, help: values.help };
}

export function helpText(scenarios: readonly { readonly name: string; readonly summary: string }[]): string {
  const lines = scenarios.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`);
  return `npm run bench -- [options]

Measures Pulsebox beside its peers, all in one run on one fresh PostgreSQL. Ratios count, absolute figures do not.
It takes about three quarters of an hour, and exits 0 whether goals are met or missed.

  --only NAME    only this scenario; may be given several times, or as a list with commas
  --quick        a tenth of the sizes, once: whether it works, not how fast it is
  --repeat N     repetitions of what is repeated (default ${DEFAULT_REPEAT}, with --quick 1)
  --json FILE    write everything measured to FILE, too
  --help         this text

Scenarios
${lines.join('\n')}

BullMQ takes part on Redis where a redis-server is on the PATH.
`;
}
