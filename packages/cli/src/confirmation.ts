// Asks the person at the terminal before something that cannot be undone.

import { createInterface } from 'node:readline/promises';
import { CliError } from './cli-error.ts';

export interface Confirmation {
  /** What is about to happen: one sentence. */
  readonly what: string;
  /** Has to be typed. */
  readonly word: string;
  /** What --yes would do, in one sentence, for whoever runs this where nobody can be asked. */
  readonly withYes: string;
}

/** @throws CLI_USAGE_INVALID when nobody is there to ask */
export async function confirmed({ what, word, withYes }: Confirmation): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new CliError('CLI_USAGE_INVALID', `${what} cannot be undone, and nobody is here to ask`, {
      hint: `add --yes; ${withYes}`,
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${withYes}. This cannot be undone. Type ${word} to go on: `);
    return answer.trim() === word;
  } finally {
    terminal.close();
  }
}
