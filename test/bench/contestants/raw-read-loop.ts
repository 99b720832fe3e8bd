// The limit: read the log in order and decode it, and remember nothing. Whoever keeps a cursor can only be slower.

import pg from 'pg';
import type { CustomTypesConfig } from 'pg';
import type { Contestant } from '../harness/contestant.ts';
import { fillLog, installLog } from './event-log.ts';

/** $1 the last seq. Index: event_pkey. 0 rows: the end. */
const READ = `
  select seq, topic, key, payload, headers, date_part('epoch', created_at)
  from outbox.event where seq > $1 order by seq limit 1000`;

/** What PostgreSQL calls these types, the same on every server. */
const INT8: number = pg.types.builtins.INT8;
const FLOAT8: number = pg.types.builtins.FLOAT8;
const JSONB: number = pg.types.builtins.JSONB;

/** The same decoding as the relay's: numbers, JSON, a Date. The driver's own would cost more than the reading. */
const types: CustomTypesConfig = {
  getTypeParser(oid: number): (text: string) => unknown {
    switch (oid) {
      case INT8:
      case FLOAT8:
        return Number;
      case JSONB:
        return (text) => (text === '{}' ? NO_HEADERS : JSON.parse(text));
      default:
        return String;
    }
  },
};

const NO_HEADERS = Object.freeze({});

type Row = [
  seq: number,
  topic: string,
  key: string | null,
  payload: unknown,
  headers: object,
  createdAt: number,
];

export const contestant: Contestant = {
  name: 'raw-read-loop',
  label: 'raw read loop (limit)',
  role: 'limit',
  setting: 'select … where seq > $1 order by seq limit 1000 on the same table, no cursor stored',
  keepsEvents: true,
  install: ({ url }) => installLog(url),
  drain: {
    load: ({ url }, events) => fillLog(url, events),
    async consume({ url }, events, clock): Promise<void> {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      clock.start();
      let position = 0;
      let read = 0;
      while (read < events) {
        const { rows } = await client.query<Row>({ text: READ, values: [position], rowMode: 'array', types });
        const batch = rows.map(toEvent);
        const last = batch.at(-1);
        if (last === undefined) throw new Error(`the log ended after ${read} events`);
        position = last.position;
        read += batch.length;
        clock.progress(read);
      }
      clock.stop();
      await client.end();
    },
  },
};

interface DecodedEvent {
  readonly position: number;
  readonly topic: string;
  readonly key: string | null;
  readonly payload: unknown;
  readonly headers: object;
  readonly createdAt: Date;
}

function toEvent([position, topic, key, payload, headers, createdAt]: Row): DecodedEvent {
  return { position, topic, key, payload, headers, createdAt: new Date(createdAt * 1_000) };
}
