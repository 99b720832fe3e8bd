// Alerts, dashboard and runbooks: that they are about metrics that exist, fire when they should, and lead somewhere.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { isOnPath } from '../../scripts/image/tools.ts';
import { expressions } from '../../scripts/monitoring/dashboard.ts';
import { generated } from '../../scripts/monitoring/generated.ts';
import { familyOf, metricNames } from '../../scripts/monitoring/metric-names.ts';
import { MONITORING, readRules } from '../../scripts/monitoring/rules.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const RUNBOOKS = join(ROOT, 'docs', 'operations', 'runbooks');
const RULE_TESTS = ['rules.test.yaml', 'rules.slow.test.yaml'];
const rules = readRules().groups.flatMap((group) => group.rules);
const alerts = rules.filter(({ alert }) => alert !== undefined);
const alertNames = [...new Set(alerts.map(({ alert }) => alert ?? ''))];

/** A test of each package compares the tables with its code, in both directions. */
const documented = new Set(
  [...readFileSync(join(ROOT, 'docs', 'metrics.md'), 'utf8').matchAll(/^\| `([a-z_]+)`/gm)].map(
    ([, name]) => name,
  ),
);
const known = (name: string): boolean =>
  documented.has(familyOf(name)) ||
  documented.has(name) ||
  name === 'up' ||
  name.startsWith('process_') ||
  rules.some(({ record }) => record === name);

describe('what is made from other files', () => {
  test.each(generated().map(({ path, content }) => ({ name: path.slice(ROOT.length + 1), path, content })))(
    '$name is as `npm run k8s:generate` would write it',
    ({ path, content }) => {
      const present = readFileSync(path, 'utf8');
      // The formatter may lay JSON out in another way.
      if (path.endsWith('.json')) expect(JSON.parse(present)).toEqual(JSON.parse(content));
      else expect(present).toBe(content);
    },
  );
});

describe('expressions', () => {
  test('read metrics that Pulsebox exports, in the rules and on the dashboard', () => {
    const unknown = [...rules.map(({ expr }) => expr), ...expressions()].flatMap((expr) =>
      metricNames(expr)
        .filter((name) => !known(name))
        .map((name) => `${name} in ${expr}`),
    );
    expect(unknown).toEqual([]);
  });

  test('are refused when they do not parse, and a metric is found in each', () => {
    expect(() => metricNames('sum by (x (y)')).toThrow(/expected PromQL/);
    expect(metricNames('rate(outbox_lag_event[5m]) > 0').filter((name) => !known(name))).toEqual([
      'outbox_lag_event',
    ]);
    expect(expressions().filter((expr) => metricNames(expr).length === 0)).toEqual([]);
  });
});

describe('alerts', () => {
  test('each has a severity, words for a person, and its own runbook', () => {
    const lacking = alerts.filter(
      ({ alert = '', labels, annotations }) =>
        !['page', 'ticket', 'none'].includes(labels?.['severity'] ?? '') ||
        annotations?.['summary'] === undefined ||
        annotations['description'] === undefined ||
        annotations['runbook'] !== `docs/operations/runbooks/${alert}.md`,
    );
    expect(lacking).toEqual([]);
  });

  test('each has a page, each page an alert, and the index names them all', () => {
    const pages = readdirSync(RUNBOOKS).filter((file) => file !== 'README.md');
    expect(pages.toSorted()).toEqual(alertNames.map((name) => `${name}.md`).toSorted());
    const index = readFileSync(join(RUNBOOKS, 'README.md'), 'utf8');
    expect(alertNames.filter((name) => !index.includes(`(${name}.md)`))).toEqual([]);
    for (const page of pages) {
      const text = readFileSync(join(RUNBOOKS, page), 'utf8');
      expect(text, page).toMatch(/^# Pulsebox\w+\n[^]+\n## Look\n[^]+\n## Do\n/);
      const dead = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].filter(
        ([, to = '']) => !existsSync(join(RUNBOOKS, to)),
      );
      expect(dead, page).toEqual([]);
    }
  });

  test('each is shown to fire, and not to fire', () => {
    const cases = RULE_TESTS.flatMap((file) => {
      const { tests } = parse(readFileSync(join(MONITORING, file), 'utf8')) as {
        tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
      };
      return tests.flatMap((one) => one.alert_rule_test);
    });
    const shown = (fires: boolean): string[] =>
      alertNames.filter(
        (name) => !cases.some((one) => one.alertname === name && one.exp_alerts.length > 0 === fires),
      );
    expect(shown(true)).toEqual([]);
    // It fires always.
    expect(shown(false)).toEqual(['PulseboxWatchdog']);
  });

  test.skipIf(!isOnPath('promtool'))(
    "pass promtool's tests (skipped where Debian's package prometheus is missing)",
    () => {
      const promtool = (...args: readonly string[]): string =>
        execFileSync('promtool', args, { encoding: 'utf8', cwd: MONITORING });
      expect(promtool('check', 'rules', 'rules.yaml')).toMatch(/SUCCESS/);
      expect(promtool('test', 'rules', ...RULE_TESTS)).toMatch(/SUCCESS/);
    },
  );
});
