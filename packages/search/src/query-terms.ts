// What somebody typed, as terms for PostgreSQL. Meilisearch takes the same text and reads it the same way.

import { SearchError } from './search-error.ts';
import type { Projection } from './projection.ts';
import type { SearchQuery } from './search-engine.ts';

export interface QueryTerms {
  readonly terms: readonly string[];
  /** For each term, whether a document must not have it. */
  readonly excluded: readonly boolean[];
  /** Whether the last term may be the beginning of a word: it is not quoted, and no blank follows it. */
  readonly lastIsPrefix: boolean;
}

const LONGEST_QUERY = 1_000;

/** A phrase in quotes, the last of which may be missing; or a run without blanks or quotes. Either may be excluded. */
const TERM = /(-?)"([^"]*)(?:"|$)|(-?)([^\s"]+)/g;

/** The text as it goes to a sink: without zero characters, which PostgreSQL cannot hold, and not endless. */
export function queryText(query: string): string {
  return query.replaceAll('\0', ' ').slice(0, LONGEST_QUERY).toWellFormed();
}

/** Never fails: whatever is no operator is a word. */
export function queryTerms(query: string): QueryTerms {
  const text = queryText(query);
  const found = [...text.matchAll(TERM)].map(([, minus, phrase, dash, word]) => ({
    text: phrase ?? word ?? '',
    excluded: (minus ?? dash) === '-',
    quoted: phrase !== undefined,
  }));
  const last = found.at(-1);
  return {
    terms: found.map((term) => term.text),
    excluded: found.map((term) => term.excluded),
    lastIsPrefix: last !== undefined && !last.quoted && !last.excluded && !/\s$/.test(text),
  };
}

/** Where in the results a page begins and how long it is. */
export interface Page {
  readonly limit: number;
  readonly offset: number;
}

const MOST_RESULTS = 1_000;

/** @throws SEARCH_QUERY_INVALID when a number is out of range, or an attribute was not declared for this use */
export function checkedPage(projection: Projection, query: SearchQuery): Page {
  const { limit = 20, offset = 0 } = query;
  const { filterable, sortable } = projection.settings;
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_RESULTS) {
    throw invalid(
      `expected a limit from 1 to ${MOST_RESULTS}, got ${limit}`,
      'ask for further pages with an offset',
    );
  }
  if (!Number.isInteger(offset) || offset < 0) {
    throw invalid(`expected an offset of 0 or more, got ${offset}`, 'the first result has offset 0');
  }
  for (const attribute of Object.keys(query.filter ?? {})) {
    if (!filterable.includes(attribute)) throw undeclared(projection, attribute, 'filterable', filterable);
  }
  if (query.sort !== undefined && !sortable.includes(query.sort.attribute)) {
    throw undeclared(projection, query.sort.attribute, 'sortable', sortable);
  }
  return { limit, offset };
}

function undeclared(
  projection: Projection,
  attribute: string,
  use: string,
  declared: readonly string[],
): SearchError {
  return invalid(
    `${attribute} is not ${use} in projection ${projection.name}`,
    declared.length === 0 ? `it declares no ${use} attributes` : `${use} are: ${declared.join(', ')}`,
  );
}

function invalid(message: string, hint: string): SearchError {
  return new SearchError('SEARCH_QUERY_INVALID', message, { hint });
}
