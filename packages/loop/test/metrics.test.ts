import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { Gauge } from 'prom-client';
import { expect, test } from 'vitest';
import { createRegistry } from '../src/index.ts';
import { createRenderer } from '../src/render-metrics.ts';
import { startObedient } from './worker-process.ts';

interface Family {
  type: string;
  labels: string[];
}

/** The tables of docs/metrics.md below one heading. */
function documented(heading: string): Record<string, Family> {
  const docs = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  const section = docs.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  const rows = section.matchAll(/^\| `([a-z_]+)` +\| (\w+) +\| (.*?) +\|/gm);
  return Object.fromEntries(
    [...rows].map(([, name = '', type = '', labels = '']) => [
      name,
      { type, labels: captures(labels, /`(\w+)`/g) },
    ]),
  );
}

function served(text: string): Record<string, Family> {
  const families = new Map<string, Family>();
  for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm))
    families.set(name, { type, labels: [] });
  for (const [, series = '', labels = ''] of text.matchAll(/^(\w+)\{(.*)\} /gm)) {
    const family = families.get(series) ?? families.get(series.replace(/_(bucket|sum|count)$/, ''));
    if (family === undefined) throw new Error(`the series ${series} has no family`);
    const names = captures(labels, /(\w+)="/g).filter((label) => label !== 'le');
    family.labels = [...new Set([...family.labels, ...names])].toSorted();
  }
  return Object.fromEntries(families);
}

/** What the first group of `pattern` caught, sorted. */
function captures(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, caught = '']) => caught).toSorted();
}

test('docs/metrics.md and /metrics name the same families, types and labels', async () => {
  const worker = await startObedient();
  const { headers, text } = await worker.request('/metrics');
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(headers['cache-control']).toBe('no-store');
  const ours = Object.entries(served(text)).filter(([name]) => !/^(process|nodejs)_/.test(name));
  expect(Object.fromEntries(ours)).toEqual(documented('packages/loop'));
  expect(served(text)).toHaveProperty('nodejs_eventloop_lag_seconds');
  expect(text).toContain(
    `worker_build_info{worker="obedient",version="1.2.3",commit="abc",node="${process.versions.node}"} 1`,
  );
});

const noPromtool = spawnSync('promtool', ['--version']).error !== undefined;
test.runIf(!noPromtool)('promtool finds nothing to object to', async () => {
  const worker = await startObedient();
  const { text } = await worker.request('/metrics');
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
});

test('a collector that throws or hangs costs its own family, not the scrape', async () => {
  const registry = createRegistry();
  const registers = [registry];
  const gauge = (name: string, collect: () => Promise<void>): Gauge =>
    new Gauge({ name, help: 'x', registers, collect });
  gauge('fine', async () => undefined).set(1);
  gauge('throws', () => Promise.reject(new Error('database away')));
  gauge('hangs', () => new Promise(() => undefined));
  const warnings: string[] = [];
  const log = pino(
    { level: 'warn' },
    { write: (line: string) => void warnings.push(JSON.parse(line).family) },
  );
  const render = createRenderer(registry, log);
  expect(await render()).toBe('# HELP fine x\n# TYPE fine gauge\nfine 1\n');
  await render();
  expect(warnings.toSorted()).toEqual(['hangs', 'throws']);
});
