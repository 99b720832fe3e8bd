// What the rule for late events rests on: how positions are handed out, and in which order an event gets its columns.

import type { Check } from './check.ts';
import { fail, ok } from './finding.ts';

/** One row. Reads the catalogue, and the greatest seq by event_pkey, backwards. */
const DEFINITION = `
  select s.seqcache::float8 as cache, s.seqincrement::float8 as increment, s.seqcycle as cycle,
         coalesce((select max(seq) from outbox.event), 0)::float8 as "lastPosition",
         (select case when is_called then last_value else last_value - 1 end from outbox.event_seq)::float8 as "lastHandedOut",
         xid.attnum < seq.attnum as "xidFirst",
         coalesce((select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = xid.attrelid and adnum = xid.attnum), '')
           as "xidDefault",
         coalesce((select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = seq.attrelid and adnum = seq.attnum), '')
           as "seqDefault",
         exists (select from pg_index i where i.indrelid = 'outbox.event'::regclass and i.indisvalid
                 and i.indkey::text = xid.attnum || ' ' || seq.attnum) as "indexed"
  from pg_sequence s
  join pg_attribute xid on xid.attrelid = 'outbox.event'::regclass and xid.attname = 'xid'
  join pg_attribute seq on seq.attrelid = 'outbox.event'::regclass and seq.attname = 'seq'
  where s.seqrelid = 'outbox.event_seq'::regclass`;

interface Definition {
  readonly cache: number;
  readonly increment: number;
  readonly cycle: boolean;
  readonly lastPosition: number;
  readonly lastHandedOut: number;
  readonly xidFirst: boolean;
  readonly xidDefault: string;
  readonly seqDefault: string;
  readonly indexed: boolean;
}

export const logDefinition: Check = {
  name: 'log-definition',
  needs: 'schema',
  async run({ pool }) {
    const { rows } = await pool.query<Definition>(DEFINITION);
    const found = rows[0];
    if (found === undefined) {
      return fail(
        'outbox.event lacks its column xid or seq',
        'restore the database from a backup: events cannot be read without them',
      );
    }
    const findings = [
      ...(found.cache === 1 && found.increment === 1 && !found.cycle
        ? []
        : [
            fail(
              `the sequence of the log has cache ${found.cache}, increment ${found.increment}${found.cycle ? ', cycle' : ''}: events can be lost, since a session may hand out positions that readers have passed`,
              'alter sequence outbox.event_seq cache 1 increment 1 no cycle; then restart all producers',
            ),
          ]),
      ...(found.lastHandedOut >= found.lastPosition
        ? []
        : [
            fail(
              `the sequence of the log stands at ${found.lastHandedOut}, below the last event at ${found.lastPosition}: new events are refused, or never read`,
              `select setval('outbox.event_seq', ${found.lastPosition});`,
            ),
          ]),
      ...(found.xidFirst &&
      /pg_current_xact_id\(\)/.test(found.xidDefault) &&
      /nextval\('outbox\.event_seq'/.test(found.seqDefault)
        ? []
        : [
            fail(
              'outbox.event was altered: its column xid, default pg_current_xact_id(), must stand before seq, default from outbox.event_seq; otherwise events can be lost',
              'undo the change, or make the table again with its columns in the order of the migration outbox/0001_log',
            ),
          ]),
      ...(found.indexed
        ? []
        : [
            fail(
              'the index on outbox.event (xid, seq) is missing or invalid: late events are looked for in the whole log',
              'create index event_xid_seq on outbox.event (xid, seq);',
            ),
          ]),
    ];
    return findings.length === 0 ? ok('the log is defined as its cursor needs it') : findings;
  },
};
