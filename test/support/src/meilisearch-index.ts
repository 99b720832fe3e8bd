// An index of the stand-in for Meilisearch: documents, settings, and a search as simple as tests allow.

export type StandInDocument = Readonly<Record<string, unknown>> & { readonly id?: unknown };

export interface StandInSettings {
  searchableAttributes: string[];
  filterableAttributes: string[];
  sortableAttributes: string[];
  displayedAttributes: string[];
}

export interface StandInIndex {
  readonly documents: Map<string, StandInDocument>;
  settings: StandInSettings;
  primaryKey: string | null;
}

/** What Meilisearch answers instead of doing what it was asked. */
export interface StandInFault {
  readonly code: string;
  readonly type: 'invalid_request' | 'internal' | 'auth' | 'system';
  readonly message: string;
}

export interface StandInSearch {
  readonly q?: string | null;
  readonly limit?: number;
  readonly offset?: number;
  readonly filter?: string | readonly string[];
  readonly sort?: readonly string[];
}

export interface StandInHits {
  readonly hits: readonly StandInDocument[];
  readonly estimatedTotalHits: number;
}

export function emptyIndex(primaryKey: string | null): StandInIndex {
  return {
    documents: new Map(),
    primaryKey,
    settings: {
      searchableAttributes: ['*'],
      filterableAttributes: [],
      sortableAttributes: [],
      displayedAttributes: ['*'],
    },
  };
}

const DOCUMENT_ID = /^[A-Za-z0-9_-]{1,511}$/;

/** Adds or replaces all of them, or none. */
export function addDocuments(
  index: StandInIndex,
  documents: readonly StandInDocument[],
): StandInFault | undefined {
  const identified = new Map<string, StandInDocument>();
  for (const document of documents) {
    const { id } = document;
    if (id === undefined) return fault('missing_document_id', `Document doesn’t have a \`id\` attribute`);
    if (typeof id !== 'string' || !DOCUMENT_ID.test(id)) {
      return fault('invalid_document_id', `Document identifier \`${JSON.stringify(id)}\` is invalid`);
    }
    identified.set(id, document);
  }
  for (const [id, document] of identified) index.documents.set(id, document);
  return undefined;
}

/** All words must be there; the last may be a beginning; "phrases" and -words are understood. No typing errors are. */
export function searchIndex(index: StandInIndex, search: StandInSearch): StandInHits | StandInFault {
  const filters = [search.filter ?? []].flat().map(parseFilter);
  for (const filter of filters) {
    if (filter === undefined)
      return fault('invalid_search_filter', `cannot parse ${JSON.stringify(search.filter)}`);
    if (!index.settings.filterableAttributes.includes(filter.attribute)) {
      return fault('invalid_search_filter', `Attribute \`${filter.attribute}\` is not filterable.`);
    }
  }
  const [sort] = search.sort ?? [];
  const [sortBy, direction] = sort?.split(':') ?? [];
  if (sortBy !== undefined && !index.settings.sortableAttributes.includes(sortBy)) {
    return fault('invalid_search_sort', `Attribute \`${sortBy}\` is not sortable.`);
  }
  const ranked = [...index.documents.values()]
    .filter((document) => filters.every((filter) => filter !== undefined && passes(document, filter)))
    .map((document) => ({
      document,
      rank: rankOf(document, search.q ?? '', index.settings.searchableAttributes),
    }))
    .filter(({ rank }) => rank !== undefined)
    .toSorted((one, other) => {
      const sorted =
        sortBy === undefined ? 0 : compare(valueAt(one.document, sortBy), valueAt(other.document, sortBy));
      return (direction === 'desc' ? -sorted : sorted) || (one.rank ?? 0) - (other.rank ?? 0);
    });
  const { offset = 0, limit = 20 } = search;
  return {
    hits: ranked.slice(offset, offset + limit).map(({ document }) => document),
    estimatedTotalHits: Math.min(ranked.length, 1_000),
  };
}

/** The lower the better, as for Meilisearch's rules; undefined: it does not match. */
function rankOf(document: StandInDocument, query: string, searchable: readonly string[]): number | undefined {
  const attributes = searchable.includes('*') ? Object.keys(document) : searchable;
  const texts = attributes.map((attribute) => wordsOf(valueAt(document, attribute)));
  const terms = [...query.matchAll(/(-?)"([^"]*)(?:"|$)|(-?)([^\s"]+)/g)].map(
    ([, minus, phrase, dash, word]) => ({
      words: wordsOf(phrase ?? word),
      excluded: (minus ?? dash) === '-',
      quoted: phrase !== undefined,
    }),
  );
  let rank = 0;
  for (const [n, { words, excluded, quoted }] of terms.entries()) {
    if (words.length === 0) continue;
    const unfinished = !quoted && !excluded && n === terms.length - 1 && !/\s$/.test(query);
    const whole = texts.findIndex((text) => hasPhrase(text, words, false));
    const found =
      whole === -1 && unfinished ? texts.findIndex((text) => hasPhrase(text, words, true)) : whole;
    if (excluded ? found !== -1 : found === -1) return undefined;
    if (!excluded) rank += found * 2 + (whole === -1 ? 1 : 0);
  }
  return rank;
}

function hasPhrase(text: readonly string[], words: readonly string[], lastIsPrefix: boolean): boolean {
  return text.some((_, start) =>
    words.every((word, n) => {
      const there = text[start + n];
      return (
        there === word ||
        (lastIsPrefix && n === words.length - 1 && there !== undefined && there.startsWith(word))
      );
    }),
  );
}

function wordsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(wordsOf);
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(wordsOf);
  if (typeof value !== 'string' && typeof value !== 'number') return [];
  const folded = String(value).normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase();
  return folded.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '');
}

interface ParsedFilter {
  readonly attribute: string;
  readonly value: string;
}

const FILTER = /^(?:"((?:[^"\\]|\\.)*)"|([\w.-]+)) = (?:"((?:[^"\\]|\\.)*)"|([\w.-]+))$/;

function parseFilter(filter: string): ParsedFilter | undefined {
  const [, quotedAttribute, attribute, quotedValue, value] = FILTER.exec(filter) ?? [];
  const name = unescaped(quotedAttribute) ?? attribute;
  const wanted = unescaped(quotedValue) ?? value;
  return name === undefined || wanted === undefined ? undefined : { attribute: name, value: wanted };
}

function unescaped(quoted: string | undefined): string | undefined {
  return quoted?.replaceAll(/\\(.)/g, '$1');
}

/** Without regard to case, as Meilisearch does it. */
function passes(document: StandInDocument, { attribute, value }: ParsedFilter): boolean {
  return [valueAt(document, attribute)]
    .flat()
    .some((there) => String(there).toLowerCase() === value.toLowerCase());
}

function valueAt(document: StandInDocument, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (value, name) =>
        typeof value === 'object' && value !== null ? (value as StandInDocument)[name] : undefined,
      document,
    );
}

function compare(one: unknown, other: unknown): number {
  if (typeof one === 'number' && typeof other === 'number') return one - other;
  return String(one) < String(other) ? -1 : Number(String(one) > String(other));
}

function fault(code: string, message: string): StandInFault {
  return { code, type: 'invalid_request', message };
}
