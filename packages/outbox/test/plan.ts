// What PostgreSQL did for a statement: its plan, run, as a flat list of nodes.

import type { Queryable } from '@pulsebox/postgres';

export interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Total Cost': number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly 'Heap Fetches'?: number;
  readonly Plans?: readonly PlanNode[];
}

export interface Plan {
  readonly nodes: readonly PlanNode[];
  /** Pages looked at, 8 kB each, whether they were in memory or not. */
  readonly pages: number;
  readonly cost: number;
  /** Most rows that one sort was given. */
  readonly sortedRows: number;
  /** Tables scanned from end to end that have rows in them. */
  readonly scannedTables: readonly string[];
  readonly indexes: readonly string[];
}

/** Runs the statement for real: inside a transaction if what it writes must not stay. */
export async function planOf(db: Queryable, sql: string, values: readonly unknown[]): Promise<Plan> {
  const { rows } = await db.query<{ 'QUERY PLAN': readonly { Plan: PlanNode }[] }>(
    `explain (analyze, buffers, timing off, format json) ${sql}`,
    [...values],
  );
  const root = rows[0]?.['QUERY PLAN'][0]?.Plan;
  if (root === undefined) throw new Error('no plan');
  const nodes = flat(root);
  const rowsOf = (node: PlanNode): number => node['Actual Rows'] * node['Actual Loops'];
  return {
    nodes,
    pages: root['Shared Hit Blocks'] + root['Shared Read Blocks'],
    cost: root['Total Cost'],
    sortedRows: Math.max(
      0,
      ...nodes
        .filter((node) => node['Node Type'] === 'Sort')
        .flatMap((node) => (node.Plans ?? []).map(rowsOf)),
    ),
    scannedTables: nodes
      .filter((node) => node['Node Type'] === 'Seq Scan' && rowsOf(node) > 0)
      .map((node) => node['Relation Name'] ?? ''),
    indexes: [...new Set(nodes.flatMap((node) => node['Index Name'] ?? []))].toSorted(),
  };
}

function flat(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flat)];
}
