// Emitting events before a witness: whatever the transaction, what it wrote to the log it also wrote to torture.emitted.

import { emit, emitAll } from '@pulsebox/outbox';
import type { ClientBase } from 'pg';
import type { Random } from './random.ts';
import { drawTrial, poisonFor } from './trials.ts';
import type { Trial, TrialOptions } from './trials.ts';

const TOPIC = 'torture.happened';

/** Result: the key's next number. $1 key, $2 how many to take. Index: key_pkey. Locks the row until the end. */
const COUNT_UP = `
  update torture.key set counter = counter + $2 where key = $1 returning counter::float8 as counter`;

/** Locks the rows, in one order for everybody: no deadlocks. $1 keys. Index: key_pkey. */
const LOCK_KEYS = `select from torture.key where key = any($1::text[]) order by key for update`;

/** $1 positions, $2 key, $3 counters, $4 behaviour, $5 trials. */
const WITNESS = `
  insert into torture.emitted (seq, key, counter, behaviour, trial)
  select seq, $2, counter, $4, trial from unnest($1::bigint[], $3::bigint[], $5::jsonb[]) as e(seq, counter, trial)`;

/** $1 key, $2 payload. */
const INSERT_PLAINLY = `
  insert into outbox.event (topic, key, payload) values ('${TOPIC}', $1, $2) returning seq::float8 as seq`;

/** $1 key, $2 payload. */
const CALL_EMIT = `
  select outbox.emit('${TOPIC}', $2::jsonb, $1)::float8 as seq`;

/** Business row, event and witness in one statement, for a client that opens no transaction. $1 key, $2 behaviour. */
const ALL_IN_ONE = `
  with counted as (
    update torture.key set counter = counter + 1 where key = $1 returning counter
  ),
  event as (
    insert into outbox.event (topic, key, payload)
    select '${TOPIC}', $1, jsonb_build_object('counter', counter) from counted
    returning seq, (payload->>'counter')::bigint as counter
  )
  insert into torture.emitted (seq, key, counter, behaviour) select seq, $1, counter, $2 from event`;

/** The same without a key. $1 behaviour. Result: the position. */
const ALL_IN_ONE_KEYLESS = `
  with event as (
    insert into outbox.event (topic, payload) values ('${TOPIC}', '{"counter": null}') returning seq
  )
  insert into torture.emitted (seq, behaviour) select seq, $1 from event returning seq::float8 as seq`;

/**
 * $1 how many, $2 over how many keys, $3 behaviour, $4 the trial of one that has few behind it, or null. The transaction
 * holds the lock of key `large`, whose counter is how many there have been before.
 */
const LARGE = `
  with counted as (
    update torture.key set counter = counter + $1 where key = 'large' returning counter - $1 as before
  ),
  event as (
    insert into outbox.event (topic, key, payload)
    select '${TOPIC}', 'large:' || n % $2::bigint,
           jsonb_build_object('counter', n)
             || case when $4::jsonb is not null and n = before + $1 - $1 / 50 then jsonb_build_object('trial', $4::jsonb)
                     else '{}' end
    from counted cross join generate_series(before + 1, before + $1) n
    order by n
    returning seq, key, payload
  )
  insert into torture.emitted (seq, key, counter, behaviour, trial)
  select seq, key, (payload->>'counter')::bigint, $3, payload->'trial' from event`;

/** A type and not an interface: only that passes for JSON. */
type Payload = {
  readonly counter: number | null;
  readonly trial?: { readonly [name in keyof Trial]: Trial[name] };
};

export interface Witnessed {
  readonly client: Pick<ClientBase, 'query'> & ClientBase;
  readonly random: Random;
  readonly behaviour: string;
  /** Undefined: every event is good. */
  readonly trials?: TrialOptions | undefined;
}

export async function lockKeys({ client }: Witnessed, keys: readonly string[]): Promise<void> {
  await client.query(LOCK_KEYS, [keys]);
}

/** One event, written in one of the three ways there are. Without a key it is in no order. */
export async function happen(turn: Witnessed, key: string | null): Promise<void> {
  await happenWith(turn, key, turn.trials === undefined ? undefined : drawTrial(turn.trials, turn.random));
}

/** The same, with what it does to its handlers. */
export async function happenWith(
  turn: Witnessed,
  key: string | null,
  trial: Trial | undefined,
): Promise<void> {
  const counter = key === null ? null : await countUp(turn, { key, by: 1 });
  const position = await write(turn, key, {
    counter,
    ...(trial === undefined ? {} : { trial: { ...trial } }),
  });
  await turn.client.query(WITNESS, [[position], key, [counter], turn.behaviour, [trial]]);
}

/** Many events of one key in one statement; all of them are good. */
export async function happenOften(turn: Witnessed, key: string, times: number): Promise<void> {
  const last = await countUp(turn, { key, by: times });
  const counters = Array.from({ length: times }, (_, n) => last - times + 1 + n);
  const positions = await emitAll(
    turn.client,
    counters.map((counter) => ({ topic: TOPIC, key, payload: { counter } })),
  );
  await turn.client.query(WITNESS, [positions, key, counters, turn.behaviour, []]);
}

export async function happenByItself(turn: Witnessed, key: string | null): Promise<number | undefined> {
  if (key !== null) {
    await turn.client.query(ALL_IN_ONE, [key, turn.behaviour]);
    return undefined;
  }
  const { rows } = await turn.client.query<{ seq: number }>(ALL_IN_ONE_KEYLESS, [turn.behaviour]);
  return rows[0]?.seq;
}

export async function happenInBulk(turn: Witnessed, events: number): Promise<void> {
  const { trials } = turn;
  const poisoned = trials !== undefined && trials.failing > 0;
  const trial = poisoned ? JSON.stringify(poisonFor(turn.random.pick(trials.groups))) : null;
  await turn.client.query(LARGE, [events, 50, turn.behaviour, trial]);
}

async function countUp({ client }: Witnessed, { key, by }: { key: string; by: number }): Promise<number> {
  const { rows } = await client.query<{ counter: number }>(COUNT_UP, [key, by]);
  if (rows[0] === undefined) throw new Error(`there is no key ${key}`);
  return rows[0].counter;
}

async function write({ client, random }: Witnessed, key: string | null, payload: Payload): Promise<number> {
  const way = random.pick(['typed', 'function', 'insert'] as const);
  if (way === 'typed') return await emit(client, { topic: TOPIC, key, payload });
  const { rows } = await client.query<{ seq: number }>(way === 'function' ? CALL_EMIT : INSERT_PLAINLY, [
    key,
    payload,
  ]);
  if (rows[0] === undefined) throw new Error('the event has no position');
  return rows[0].seq;
}
