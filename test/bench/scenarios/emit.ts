// What the log costs its producers: a business transaction with `emit`, and with the insert they would write themselves.

import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { percent, perSecond } from '../harness/figures.ts';
import { query } from '../harness/bench-server.ts';
import { runJob } from '../harness/child.ts';
import type { Goal, Scenario, ScenarioReport } from '../harness/scenario.ts';
import { median, percentile } from '../harness/statistics.ts';
import { CREATE_CLASSIC_OUTBOX } from '../contestants/skip-locked-delete.ts';
import { ACCOUNTS } from '../jobs/emit-rounds.ts';
import type { EmitRound, EmitRoundsInput } from '../jobs/emit-rounds.ts';

const CONNECTIONS = [1, 16];
const ROUNDS = 20;
const FEWEST_ROUNDS = 4;
const ROUND_MS = 500;
const GOAL = 0.85;

const CREATE_ACCOUNTS = `
  create table account (id integer primary key, owner text not null, balance bigint not null default 0) with (fillfactor = 80)`;
const FILL_ACCOUNTS = `insert into account (id, owner) select i, 'owner ' || i from generate_series(0, $1::int - 1) i`;

export const emit: Scenario = {
  name: 'emit',
  summary: 'a transaction that emits, beside the same with a bare insert, at 1 and 16 connections',
  async run({ server, scale, repeat, progress }): Promise<ScenarioReport> {
    const measured: { readonly connections: number; readonly rounds: readonly EmitRound[] }[] = [];
    for (const connections of CONNECTIONS) {
      const url = await server.freshDatabase('bench_emit');
      await migrate({ connectionString: url }, [postgresMigrations, outboxMigrations]);
      await query(url, CREATE_CLASSIC_OUTBOX);
      await query(url, CREATE_ACCOUNTS);
      await query(url, FILL_ACCOUNTS, [ACCOUNTS]);
      await server.settle(url);
      progress(`${connections} connection(s)`);
      const rounds = Math.max(FEWEST_ROUNDS, Math.round(ROUNDS * scale)) * repeat;
      const input: EmitRoundsInput = { url, connections, rounds, roundMs: ROUND_MS };
      measured.push({
        connections,
        rounds: (await runJob<readonly EmitRound[]>('emit-rounds', input)).output,
      });
    }
    return {
      title: 'Emit: update a row and add an event, in one transaction',
      goals: measured.map(({ connections, rounds }): Goal => {
        const share = median(rounds.map(ratioOf));
        return {
          text: `emit: at least ${GOAL * 100} % of a bare insert, ${connections} connection${connections === 1 ? '' : 's'}`,
          measured: percent(share),
          met: share >= GOAL,
        };
      }),
      tables: [
        {
          head: ['connections', 'emit is', 'quarter to three quarters', 'emit', 'bare insert', 'rounds'],
          rows: measured.map(({ connections, rounds }) => [
            String(connections),
            percent(median(rounds.map(ratioOf))),
            `${percent(percentile(rounds.map(ratioOf), 25))} - ${percent(percentile(rounds.map(ratioOf), 75))}`,
            perSecond(median(rounds.map((round) => round.emitPerSecond))),
            perSecond(median(rounds.map((round) => round.insertPerSecond))),
            String(rounds.length),
          ]),
        },
      ],
      notes: [
        `Turns of ${ROUND_MS} ms, one after the other; each ratio is that of two neighbours, the figure their median. The bare insert goes into (id identity primary key, topic, key, payload, headers, created_at), without another index, check or trigger.`,
      ],
      data: measured,
    };
  },
};

function ratioOf({ emitPerSecond, insertPerSecond }: EmitRound): number {
  return emitPerSecond / insertPerSecond;
}
