// Where pulsebox writes: results on standard output, remarks on standard error; colour only where it is seen.

import { styleText } from 'node:util';
import type { Fault } from './fault.ts';

/** The styles in use: what is good, what is worth a look, what is bad; titles, and what may be overlooked. */
export type Style = 'green' | 'yellow' | 'red' | 'bold' | 'dim';

export interface Terminal {
  readonly json: boolean;
  /** Whether a person watches standard error: progress may be drawn there. */
  readonly watched: boolean;
  /** The result of the command: `value` as JSON under --json, else the text. */
  result(value: unknown, text: () => string): void;
  /** A remark for people, on standard error. */
  remark(text: string): void;
  /** Draws over the present line of standard error. Only where `watched`. */
  redraw(text: string): void;
  fault(fault: Fault): void;
  /** Colours text for standard output. Plain where that is no terminal, or NO_COLOR is set. */
  style(style: Style, text: string): string;
}

export function createTerminal(options: { readonly json: boolean }): Terminal {
  const { json } = options;
  return {
    json,
    watched: process.stderr.isTTY && !json,
    result(value, text): void {
      process.stdout.write(`${json ? JSON.stringify(value, null, 2) : harmlessInColour(text())}\n`);
    },
    remark(text): void {
      process.stderr.write(`${styleText('dim', harmless(text), { stream: process.stderr })}\n`);
    },
    redraw(text): void {
      process.stderr.write(`\r\u001B[K${text}`);
    },
    fault({ code, message, hint }): void {
      if (json) {
        process.stderr.write(`${JSON.stringify({ error: { code, message, hint } })}\n`);
        return;
      }
      const name = styleText('red', 'pulsebox:', { stream: process.stderr });
      process.stderr.write(`${name} ${harmless(message).replaceAll('\n', '\n  ')}\n`);
      process.stderr.write(`  hint: ${harmless(hint).replaceAll('\n', '\n    ')}\n`);
    },
    style: (style, text) => styleText(style, text, { stream: process.stdout }),
  };
}

/** Text out of a database or from a server, made safe to show: escape sequences and control characters are taken out. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ');
}

/**
 * A net below the commands: of what a person is shown, line ends and the colours of tables are all that moves a terminal.
 * Words of strangers come with errors as well, and a title of the window or a cleared screen would be theirs to choose.
 */
function harmless(text: string): string {
  return text.replaceAll(/(?!\n)[\p{Cc}\p{Cf}]/gu, ' ');
}

// oxlint-disable-next-line no-control-regex -- the escape of a colour is one
const COLOUR = /(\u001B\[\d{1,2}m)/;

function harmlessInColour(text: string): string {
  return text
    .split(COLOUR)
    .map((part, n) => (n % 2 === 0 ? harmless(part) : part))
    .join('');
}
