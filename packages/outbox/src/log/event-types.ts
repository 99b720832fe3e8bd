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

function parseJson(text: string): unknown {
  return text === '{}' ? NO_HEADERS : JSON.parse(text);
}
