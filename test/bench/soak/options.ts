// The command line of `npm run soak`.

import { parseArgs } from 'node:util';

export interface SoakOptions {
  readonly help: boolean;
  readonly minutes: number;
  /** Changes of items a second. */
  readonly rate: number;
  readonly jsonFile: string | undefined;
  /** Run nothing: judge what a run has written so far. */
  readonly judgeFile: string | undefined;
}

const DEFAULT_MINUTES = 120;
const DEFAULT_RATE = 50;
/** Less leaves no samples to compare. */
const SHORTEST_MINUTES = 1;

export const helpText = `npm run soak -- [options]

Runs the three workers for long under a modest, steady load, and says whether memory, connections, disk and latency
stayed flat, and whether anything was lost or came twice. Exits 0 when all did, 1 when not, 2 for a mistaken option.

  --minutes N    how long, from ${SHORTEST_MINUTES} up (default ${DEFAULT_MINUTES})
  --rate N       changes of items a second (default ${DEFAULT_RATE}); pushes follow it
  --json FILE    write every sample and the verdicts to FILE, now and then while it runs, too
  --judge FILE   run nothing: judge the samples that a run, which may still be under way, has written to FILE
  --help         this text
`;

/** @throws Error with a sentence for the user */
export function parseOptions(argv: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      minutes: { type: 'string' },
      rate: { type: 'string' },
      json: { type: 'string' },
      judge: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return {
    help: values.help,
    minutes: numberFrom('--minutes', values.minutes ?? String(DEFAULT_MINUTES), SHORTEST_MINUTES),
    rate: numberFrom('--rate', values.rate ?? String(DEFAULT_RATE), 1),
    jsonFile: values.json,
    judgeFile: values.judge,
  };
}

function numberFrom(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= least) return value;
  throw new Error(`expected ${flag} to be a number from ${least} up, got "${text}"`);
}
