// What a run says at its end: goals and ratios first, then the tables they come from.

import { serverSettings } from './bench-server.ts';
import type { Machine } from './machine.ts';
import { renderTable } from './render-table.ts';
import type { ScenarioReport } from './scenario.ts';

export interface MeasuredScenario extends ScenarioReport {
  /** The load of the machine's last minute when it ended: what else went on beside it. */
  readonly loadAfter: number;
}

export interface RunReport {
  readonly machine: Machine & { readonly postgres: string; readonly redis: string };
  readonly quick: boolean;
  readonly repeat: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly scenarios: Readonly<Record<string, MeasuredScenario>>;
}

export function renderReport(report: RunReport): string {
  const { machine, scenarios } = report;
  const reports = Object.values(scenarios);
  const settings = Object.entries(serverSettings).map(([name, value]) => `${name}=${value}`);
  return [
    '# Pulsebox bench',
    ...(report.quick ? ['A quick run: it shows that everything works, not how fast it is.'] : []),
    [
      `${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}, PostgreSQL ${machine.postgres}, Redis ${machine.redis}.`,
      `Load before the run: ${machine.loadBefore}. Repetitions: ${report.repeat}.`,
      `Server: ${settings.join(' ')}.`,
    ].join('\n'),
    renderTable({
      head: ['goal', 'measured', ''],
      rows: reports.flatMap(({ goals }) =>
        goals.map(({ text, measured, met }) => [text, measured, met ? 'met' : 'MISSED']),
      ),
    }),
    ...reports.map(renderScenario),
  ].join('\n\n');
}

function renderScenario(report: MeasuredScenario): string {
  const load = `Load of the machine as it ended: ${report.loadAfter}.`;
  return [`## ${report.title}`, ...report.tables.map(renderTable), ...report.notes, load].join('\n\n');
}
