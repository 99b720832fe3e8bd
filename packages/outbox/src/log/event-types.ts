// How the columns of an event become values: the hot path's own parsers, which look at nothing but these types.

import pg from 'pg';
import type { CustomTypesConfig } from 'pg';

const INT8: number = pg.types.builtins.INT8;
const FLOAT8: number = pg.types.builtins.FLOAT8;
const JSONB: number = pg.types.builtins.JSONB;

/** Most events carry no headers; they share one object instead of parsing `{}` each. */
const NO_HEADERS: Readonly<Record<string, never>> = Object.freeze({});

/** Positions become numbers, exact up to 2^53: at a million events a second that is 285 years away. */
export const eventTypes: CustomTypesConfig = {
  getTypeParser(oid: number): (text: string) => unknown {
    switch (oid) {
      case INT8:
      case FLOAT8:
        return Number;
      case JSONB:
        return parseJson;
      default:
        return String;
    }
  },
};

/** What a value is replaced by that was left out. */
export const LEFT_OUT: unique symbol = Symbol('left out');

export interface BoundedTypes {
  readonly types: CustomTypesConfig;
  /** Characters of JSON that have come so far, of rows that were not left out. */
  size(): number;
}

/**
 * As `eventTypes`, for one query: rows that come after so many characters of JSON have come are left out, with
 * `LEFT_OUT` for their JSON. Whole rows, since the driver parses columns in order and the number of an event is its
 * first; and never the first of them. The server sends them all the same, but they are garbage at once.
 */
export function boundedTypes(mostCharacters: number): BoundedTypes {
  let size = 0;
  let begun = false;
  let leavesOut = false;
  const parsers = new Map<number, (text: string) => unknown>([
    [
      INT8,
      (text) => {
        // What comes before the first event is no part of the batch.
        if (!begun) size = 0;
        leavesOut = begun && size >= mostCharacters;
        begun = true;
        return Number(text);
      },
    ],
    [
      JSONB,
      (text) => {
        if (leavesOut) return LEFT_OUT;
        size += text.length;
        return parseJson(text);
      },
    ],
  ]);
  return {
    size: () => size,
    types: { getTypeParser: (oid) => parsers.get(oid) ?? eventTypes.getTypeParser(oid) },
  };
}

function parseJson(text: string): unknown {
  return text === '{}' ? NO_HEADERS : JSON.parse(text);
}
