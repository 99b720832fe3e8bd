// Stores cursors while another session holds a snapshot: nothing that dies meanwhile can be cleaned away.
// Beside them the cursor that one would write first: one row, updated.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Client } from 'pg';
import { acquireLease, renewLease } from '@pulsebox/postgres';
import { laneLeaseName, registerGroup } from '@pulsebox/outbox';
// The statements themselves, not copies of them; a package's index offers what applications need.
import {
  LOAD_CURSOR,
  loadCursor,
  pruneCursors,
  storeCursor,
} from '../../../packages/outbox/src/lease/store-cursor.ts';

export interface HeldSnapshotInput {
  readonly url: string;
  readonly stores: number;
}

export interface CursorCost {
  /** Pages that finding the cursor in force touches. */
  readonly loadPages: number;
  readonly loadMs: number;
  /** The plan's nodes from the top down, and what the planner believed of the table: why the pages are what they are. */
  readonly loadPlan: string;
  /** Median of a hundred stores. */
  readonly storeMs: number;
}

export interface HeldSnapshotOutput {
  readonly pulsebox: { readonly before: CursorCost; readonly after: CursorCost };
  readonly naive: { readonly before: CursorCost; readonly after: CursorCost };
}

const lane = { group: 'bloat', lane: 0 };
const LEASE_TTL_MS = 15_000;

/** A lease is renewed every five seconds; at a busy lane's hundred batches a second that is every 500 stores. */
const STORES_PER_RENEWAL = 500;
/** As the lane session prunes. */
const STORES_PER_PRUNE = 200;
const SAMPLE = 100;

const CREATE_NAIVE_CURSOR = `
  create table naive_cursor (group_name text primary key, position bigint not null, snapshot pg_snapshot not null)`;
const INSERT_NAIVE_CURSOR = `insert into naive_cursor values ('bloat', 0, '1:1:')`;
const UPDATE_NAIVE_CURSOR = `update naive_cursor set position = $2, snapshot = pg_current_snapshot() where group_name = $1`;
const LOAD_NAIVE_CURSOR = `select position, snapshot from naive_cursor where group_name = $1`;

export default async function heldSnapshot({ url, stores }: HeldSnapshotInput): Promise<HeldSnapshotOutput> {
  const [reader, holder] = await Promise.all([connect(url), connect(url)]);
  await registerGroup(reader, lane.group, 'beginning');
  await reader.query(CREATE_NAIVE_CURSOR);
  await reader.query(INSERT_NAIVE_CURSOR);

  // A report that takes its time.
  await holder.query('begin isolation level repeatable read');
  await holder.query('select count(*) from outbox.event');
  const pulsebox = await grow(stores, await leasedStore(reader), () =>
    load(reader, LOAD_CURSOR, [lane.group, lane.lane]),
  );
  const naive = await grow(stores, naiveStore(reader), () => load(reader, LOAD_NAIVE_CURSOR, [lane.group]));
  await holder.query('commit');
  await Promise.all([reader.end(), holder.end()]);
  return { pulsebox, naive };
}

type Store = (n: number) => Promise<void>;

async function leasedStore(client: Client): Promise<Store> {
  const request = { name: laneLeaseName(lane), holder: 'bench', ttlMs: LEASE_TTL_MS };
  const attempt = await acquireLease(client, request);
  if (!attempt.acquired) throw new Error('somebody else holds the lease');
  const { token } = attempt;
  const start = await loadCursor(client, lane);
  if (start === undefined) throw new Error('the group has no cursor');
  return async (n) => {
    const stored = { ...start, token, batch: n, delivered: n, cursor: { ...start.cursor, position: n } };
    const outcome = await storeCursor(client, lane, stored);
    if (!outcome.advanced) throw new Error('fenced');
    if (n % STORES_PER_PRUNE === 1) await pruneCursors(client, lane, stored);
    if (n % STORES_PER_RENEWAL === 0) await renewLease(client, { ...request, token });
  };
}

function naiveStore(client: Client): Store {
  return async (n) => {
    await client.query(UPDATE_NAIVE_CURSOR, [lane.group, n]);
  };
}

async function grow(
  stores: number,
  store: Store,
  look: () => Promise<Omit<CursorCost, 'storeMs'>>,
): Promise<{ readonly before: CursorCost; readonly after: CursorCost }> {
  const took: number[] = [];
  let before: Omit<CursorCost, 'storeMs'> | undefined;
  for (let n = 1; n <= stores; n += 1) {
    const startedAtMs = performance.now();
    await store(n);
    took.push(performance.now() - startedAtMs);
    if (n === SAMPLE) before = await look();
  }
  if (before === undefined) throw new Error(`expected more than ${SAMPLE} stores, got ${stores}`);
  const middle = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
  return {
    before: { ...before, storeMs: middle(took.slice(0, SAMPLE)) },
    after: { ...(await look()), storeMs: middle(took.slice(-SAMPLE)) },
  };
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Plan Rows': number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly PlanNode[];
}

interface Plan {
  readonly 'Execution Time': number;
  readonly Plan: PlanNode;
}

function nodesOf(node: PlanNode): string {
  const own = `${node['Node Type']} (expects ${node['Plan Rows']} rows)`;
  return [own, ...(node.Plans ?? []).map(nodesOf)].join(' > ');
}

/** Looked at several times: the first look may mark index entries, and pays for what others left in the caches. */
async function load(
  client: Client,
  text: string,
  values: readonly unknown[],
): Promise<Omit<CursorCost, 'storeMs'>> {
  let best: Plan | undefined;
  for (let look = 0; look < 5; look += 1) {
    const { rows } = await client.query<{ 'QUERY PLAN': readonly Plan[] }>(
      `explain (analyze, buffers, format json) ${text}`,
      [...values],
    );
    const plan = rows[0]?.['QUERY PLAN'][0];
    if (plan !== undefined && (best === undefined || plan['Execution Time'] < best['Execution Time']))
      best = plan;
    await sleep(1);
  }
  if (best === undefined) throw new Error('no plan');
  return {
    loadPages: best.Plan['Shared Hit Blocks'] + best.Plan['Shared Read Blocks'],
    loadMs: best['Execution Time'],
    loadPlan: nodesOf(best.Plan),
  };
}

async function connect(url: string): Promise<Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}
