// Projections of the application's own, out of a JSON file. Everything that is wrong with it is said at once.

import { readFile } from 'node:fs/promises';
import type { Projection } from './projection.ts';
import { SearchError } from './search-error.ts';
import { isViewName } from './view.ts';

/**
 * Reads and checks a file of projections: an array of objects as docs/projections.md describes them. Whether their
 * views exist is for `verifyProjections` to say.
 *
 * @param beside projections that there are already, whose names and indexes are taken
 * @throws SEARCH_PROJECTION_INVALID with every fault
 */
export async function loadProjections(
  path: string,
  beside: readonly Projection[] = [],
): Promise<Projection[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw invalid(path, [`the file cannot be read (${error.code ?? error.message})`], error);
  });
  let declared: unknown;
  try {
    declared = JSON.parse(text);
  } catch (error) {
    throw invalid(path, [`it is not JSON: ${error instanceof Error ? error.message : String(error)}`], error);
  }
  return parseProjections(declared, { source: path, beside });
}

export interface ParseProjectionsOptions {
  /** Where they come from, for messages. */
  readonly source: string;
  readonly beside?: readonly Projection[];
}

/** Checks projections as JSON has them. @throws SEARCH_PROJECTION_INVALID with every fault */
export function parseProjections(declared: unknown, options: ParseProjectionsOptions): Projection[] {
  if (!Array.isArray(declared))
    throw invalid(options.source, ['expected an array of projections: [ { … } ]']);
  const faults: string[] = [];
  const parsed = declared.flatMap((value: unknown, n) => parseOne(value, `projection ${n + 1}`, faults));
  faults.push(...collisions([...(options.beside ?? []), ...parsed]));
  if (faults.length > 0) throw invalid(options.source, faults);
  return parsed;
}

const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const INDEX = /^[A-Za-z0-9_-]{1,200}$/;
const TOPIC = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$/;
const PATH = /^[^.\s"\\]+(\.[^.\s"\\]+)*$/;

type Check = { readonly is: (value: string) => boolean; readonly words: string };

const name: Check = {
  is: (value) => NAME.test(value),
  words: 'a name such as "notes": lower-case letters, digits and hyphens',
};
const index: Check = {
  is: (value) => INDEX.test(value),
  words: 'an index such as "notes": letters, digits, _ and -',
};
const view: Check = {
  is: isViewName,
  words: 'a schema and a view such as "public.note_documents", in lower case',
};
const topic: Check = { is: (value) => TOPIC.test(value), words: 'topics such as "note.saved"' };
const idPath: Check = {
  is: (value) => PATH.test(value),
  words: 'where in the payload the id stands, such as "note_id" or "note.id"',
};
const attribute: Check = {
  is: (value) => PATH.test(value),
  words: 'attributes such as "title" or "author.name"',
};

const FIELDS = ['name', 'index', 'view', 'topics', 'id', 'searchable', 'filterable', 'sortable'] as const;
type Field = (typeof FIELDS)[number];

function parseOne(value: unknown, fallbackName: string, faults: string[]): Projection[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    faults.push(`${fallbackName}: expected an object, got ${shown(value)}`);
    return [];
  }
  const fields = value as Readonly<Partial<Record<Field, unknown>>>;
  const label = typeof fields.name === 'string' ? `projection ${JSON.stringify(fields.name)}` : fallbackName;
  const before = faults.length;

  for (const field of Object.keys(value)) {
    if (!FIELDS.includes(field as Field))
      faults.push(`${label}: unknown field ${JSON.stringify(field)}; there are ${FIELDS.join(', ')}`);
  }
  const text = (field: Field, check: Check): string => {
    const given = fields[field];
    if (typeof given === 'string' && check.is(given)) return given;
    faults.push(`${label}: expected ${field} to be ${check.words}, got ${shown(given)}`);
    return '';
  };
  const list = (field: Field, check: Check, least: 0 | 1): string[] => {
    const given = fields[field] ?? [];
    if (
      Array.isArray(given) &&
      given.length >= least &&
      given.every((one) => typeof one === 'string' && check.is(one))
    ) {
      const strings = given as string[];
      if (new Set(strings).size === strings.length) return strings;
      faults.push(`${label}: ${field} names something twice`);
      return [];
    }
    const words = least === 1 ? `a list of one or more ${check.words}` : `a list of ${check.words}`;
    faults.push(`${label}: expected ${field} to be ${words}, got ${shown(fields[field])}`);
    return [];
  };
  const projection: Projection = {
    name: text('name', name),
    index: fields.index === undefined && typeof fields.name === 'string' ? fields.name : text('index', index),
    view: text('view', view),
    topics: list('topics', topic, 1),
    idPath: text('id', idPath),
    settings: {
      searchable: list('searchable', attribute, 1),
      filterable: list('filterable', attribute, 0),
      sortable: list('sortable', attribute, 0),
    },
  };
  return faults.length === before ? [projection] : [];
}

function collisions(projections: readonly Projection[]): string[] {
  return (['name', 'index'] as const).flatMap((field) => {
    const taken = projections.map((projection) => projection[field]);
    const twice = new Set(taken.filter((value, n) => taken.indexOf(value) !== n));
    return [...twice].map((value) => `two projections have the ${field} ${JSON.stringify(value)}`);
  });
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

function invalid(source: string, faults: readonly string[], cause?: unknown): SearchError {
  return new SearchError('SEARCH_PROJECTION_INVALID', `${source}: ${faults.join('; ')}`, {
    hint: 'docs/projections.md describes every field; PULSEBOX_PROJECTIONS names the file',
    cause,
  });
}
