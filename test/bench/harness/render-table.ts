// A table for a terminal and for Markdown alike: the first column to the left, figures to the right.

import type { Table } from './scenario.ts';

export function renderTable({ head, rows }: Table): string {
  const widths = head.map((title, column) =>
    Math.max(...[title, ...rows.map((row) => row[column] ?? '')].map(width)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((wide, column) => pad(cells[column] ?? '', wide, column)).join(' | ')} |`;
  const rule = `|${widths.map((wide, column) => (column === 0 ? `:${'-'.repeat(wide + 1)}` : `${'-'.repeat(wide + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

function pad(text: string, wide: number, column: number): string {
  const space = ' '.repeat(wide - width(text));
  return column === 0 ? text + space : space + text;
}

function width(text: string): number {
  // Nothing here is wider than its code points: letters, digits, ×, →.
  return Array.from(text).length;
}
