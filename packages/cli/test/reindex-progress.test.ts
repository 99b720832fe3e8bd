import { expect, test } from 'vitest';
import { createReindexProgress } from '../src/reindex-progress.ts';
import type { Terminal } from '../src/terminal.ts';

function recordingTerminal(
  watched: boolean,
  json = false,
): { terminal: Terminal; drawn: string[]; lines: string[] } {
  const drawn: string[] = [];
  const lines: string[] = [];
  const terminal: Terminal = {
    json,
    watched,
    result: () => undefined,
    remark: (text) => void lines.push(text),
    redraw: (text) => void drawn.push(text),
    fault: () => undefined,
    style: (_style, text) => text,
  };
  return { terminal, drawn, lines };
}

const filling = (rows: number): { projection: string; step: 'filling'; rows: number; events: number } => ({
  projection: 'items',
  step: 'filling',
  rows,
  events: 0,
});

test('draws a bar where somebody watches, and takes it away at the end', () => {
  const { terminal, drawn, lines } = recordingTerminal(true);
  const progress = createReindexProgress(terminal, 'items', 1_000);
  progress.show(filling(500));
  progress.show({ projection: 'items', step: 'swapping', rows: 1_200, events: 7 });
  progress.end();
  expect(drawn).toEqual([
    `items ${'█'.repeat(12)}${'░'.repeat(12)} filling, 500 rows`,
    `items ${'█'.repeat(24)} swapping, 1,200 rows, 7 events`,
    '',
  ]);
  expect(lines).toEqual([]);
});

test('draws no faster than anybody can read', () => {
  const { terminal, drawn } = recordingTerminal(true);
  const progress = createReindexProgress(terminal, 'items', 0);
  for (let rows = 1; rows <= 10_000; rows += 1) progress.show(filling(rows));
  expect(drawn.length).toBeLessThan(100);
});

test('writes a line for each step elsewhere, and nothing where JSON is wanted', () => {
  const { terminal, drawn, lines } = recordingTerminal(false);
  const progress = createReindexProgress(terminal, 'items', 1_000);
  for (const rows of [500, 1_000]) progress.show(filling(rows));
  progress.show({ projection: 'items', step: 'done', rows: 1_000, events: 0 });
  progress.end();
  expect(lines).toEqual(['items: filling, 500 rows', 'items: done, 1,000 rows']);
  expect(drawn).toEqual([]);

  const silent = recordingTerminal(false, true);
  createReindexProgress(silent.terminal, 'items', 1_000).show(filling(1));
  expect(silent.lines).toEqual([]);
});
