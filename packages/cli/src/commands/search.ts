// pulsebox search: asks whichever search engine is configured.

import type { Command } from 'commander';
import type { Projection, SearchHit, SearchResult } from '@pulsebox/search';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { wholeNumber } from '../flag-values.ts';
import { count, plural } from '../quantities.ts';
import { engineName, setUpSearch } from '../search-setup.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Style, Terminal } from '../terminal.ts';

interface SearchOptions {
  readonly projection: string;
  readonly organisation?: string;
  readonly limit: number;
  readonly offset: number;
}

const EXAMPLES = `
Asks Meilisearch when MEILI_URL is set (or npm start runs with one), else PostgreSQL.
The last word may be unfinished; "words in quotes" are a phrase; -word must not be there.

Examples:
  pulsebox search 'zurich airp'
  pulsebox search '"annual report" -draft' --projection files --organisation acme
  pulsebox search zur --limit 5 --json | jq -r '.hits[].document.name'`;

export function declareSearch(program: Command, run: Run): void {
  program
    .command('search')
    .summary('search the index, whichever engine is on')
    .description('Searches the index of a projection, in whichever engine is configured.')
    .argument('<query...>', 'what to look for')
    .option('--projection <name>', 'items, files, mail, or one of your own', 'items')
    .option('--organisation <name>', 'only documents of this organisation')
    .option('--limit <n>', 'how many hits to show', wholeNumber(1, 1_000), 20)
    .option('--offset <n>', 'how many hits to pass over', wholeNumber(0, 1_000_000), 0)
    .addHelpText('after', EXAMPLES)
    .action((words: string[], options: SearchOptions) =>
      run((session) => showHits(session, words.join(' '), options)),
    );
}

async function showHits(session: Session, query: string, options: SearchOptions): Promise<ExitCode> {
  const { projection: name, organisation, limit, offset } = options;
  const database = await announceDatabase(session);
  return await withPool(database, async (pool) => {
    const search = await setUpSearch({ env: session.env, database, pool });
    // The first connection to the database is not part of the search.
    if (search.engine.name === 'postgres') await pool.query('select 1');
    const startedAtMs = performance.now();
    const found = await search.search(name, { query, organisation, limit, offset });
    const tookMs = Number((performance.now() - startedAtMs).toFixed(1));
    const projection = search.projections.find((candidate) => candidate.name === name);
    session.terminal.result(
      { projection: name, engine: search.engine.name, query, total: found.total, tookMs, hits: found.hits },
      () =>
        [
          ...(found.hits.length === 0 ? [] : [hitsTable(found, projection, query, session.terminal.style)]),
          `${summary(found, offset)} in ${name}, ${engineName(search)}, ${tookMs} ms`,
        ].join('\n'),
    );
    return exitCodes.ok;
  });
}

function summary({ hits, total }: SearchResult, offset: number): string {
  if (hits.length === 0) return offset > 0 && total > 0 ? `no more than ${plural(total, 'hit')}` : 'no hits';
  const shown =
    offset === 0 && hits.length >= total ? '' : `${count(offset + 1)} to ${count(offset + hits.length)} of `;
  return `${shown}${plural(total, 'hit')}`;
}

function hitsTable(
  { hits }: SearchResult,
  projection: Projection | undefined,
  query: string,
  style: Terminal['style'],
): string {
  const title = projection?.settings.searchable[0] ?? 'name';
  return renderTable(
    hits,
    [
      { title: title.toUpperCase(), value: (hit: SearchHit) => highlight(titleOf(hit, title), query, style) },
      { title: 'ORGANISATION', value: ({ organisation }) => printable(organisation ?? '-') },
      { title: 'ID', value: ({ id }) => printable(id) },
    ],
    style,
  );
}

const LONGEST_TITLE = 70;

/** The attribute that counts most in the search, as one line. */
function titleOf({ document }: SearchHit, path: string): string {
  let value: unknown = document;
  for (const step of path.split('.')) {
    value =
      typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[step] : undefined;
  }
  const text = printable(
    typeof value === 'string' ? value : value === undefined ? '-' : JSON.stringify(value),
  );
  return text.length > LONGEST_TITLE ? `${text.slice(0, LONGEST_TITLE)}…` : text;
}

/** Marks words that begin as words of the query do, whatever their case and accents. */
function highlight(title: string, query: string, style: Terminal['style']): string {
  const wanted = (query.match(/[\p{L}\p{N}]+/gu) ?? []).map(folded);
  const mark: Style = 'green';
  return title.replaceAll(/[\p{L}\p{M}\p{N}]+/gu, (word) =>
    wanted.some((start) => folded(word).startsWith(start)) ? style(mark, word) : word,
  );
}

function folded(word: string): string {
  return word.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase();
}
