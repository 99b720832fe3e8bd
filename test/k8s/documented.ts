// The commands that the pages for operators show, for tests that run them as they stand there.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const OPERATIONS = join(import.meta.dirname, '..', '..', 'docs', 'operations');

export interface ShownCommand {
  /** Without its comment. */
  readonly line: string;
  /** The page says that it needs a cluster, or a container engine. */
  readonly marked: boolean;
}

export const PAGES: readonly string[] = globSync('**/*.md', { cwd: OPERATIONS }).toSorted();

export function textOf(page: string): string {
  return readFileSync(join(OPERATIONS, page), 'utf8');
}

/**
 * The commands of a page's shell blocks. A block is marked by the paragraph or the item above it, a line by a comment of its own: `[cluster]`,
 * or "with an engine".
 */
export function commandsOf(page: string): readonly ShownCommand[] {
  // Odd ones are what stands in a block.
  const parts = textOf(page).split(/^ *```(?:sh)?$/m);
  return parts.flatMap((block, index) => {
    if (index % 2 === 0) return [];
    const above =
      parts[index - 1]
        ?.trimEnd()
        .split(/\n\s*\n|\n(?=(?:\d+\.|-) )/)
        .at(-1) ?? '';
    return block
      .replaceAll(/\\\n\s*/g, '')
      .split('\n')
      .filter((text) => text.trim() !== '')
      .map((text) => {
        const [line = '', comment = ''] = text.split(/(?:^|\s+)# /);
        return { line: line.trim(), marked: isMarked(above) || isMarked(comment) };
      });
  });
}

/** The one command of a page that begins so and needs no cluster, as words, with what stands for something filled in. */
export function commandOf(
  page: string,
  beginning: string,
  fill: Readonly<Record<string, string>> = {},
): string[] {
  const [found, ...more] = commandsOf(page).filter(
    ({ line, marked }) => !marked && line.startsWith(beginning),
  );
  if (found === undefined || more.length > 0)
    throw new Error(
      `expected ${page} to show one command "${beginning} …", found ${found === undefined ? 0 : more.length + 1}`,
    );
  const filled = Object.entries(fill).reduce((text, [from, to]) => text.replaceAll(from, to), found.line);
  return filled.split(/\s+/);
}

function isMarked(text: string): boolean {
  return /\[cluster\]|with an engine/i.test(text);
}
