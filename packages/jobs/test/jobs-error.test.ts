import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { JobsError, jobsErrorCodes } from '../src/index.ts';

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const docs = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const section = docs.split(/^## /m).find((part) => part.startsWith('packages/jobs\n')) ?? '';
  const explained = [...section.matchAll(/^### `(\w+)`$/gm)].map(([, code = '']) => code);
  expect(explained.toSorted()).toEqual([...jobsErrorCodes].toSorted());
});

test('every code is used, and every code that is used is in the list', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'jobs-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = new Set(
    sources.flatMap((text) => [...text.matchAll(/JobsError\(\s*'(\w+)'/g)].map(([, code = '']) => code)),
  );
  expect([...used].toSorted()).toEqual([...jobsErrorCodes].toSorted());
});

test('an error carries code, hint and cause', () => {
  const cause = new Error('why');
  expect(new JobsError('JOBS_STOPPED', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'JobsError',
    code: 'JOBS_STOPPED',
    message: 'no',
    hint: 'do',
    cause,
  });
  expect('cause' in new JobsError('JOBS_STOPPED', 'no', { hint: 'do' })).toBe(false);
});
