import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OutboxError, outboxErrorCodes } from '../src/index.ts';

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const docs = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const section = docs.split(/^## /m).find((part) => part.startsWith('packages/outbox\n')) ?? '';
  const explained = [...section.matchAll(/^### `(\w+)`$/gm)].map(([, code = '']) => code);
  expect(explained.toSorted()).toEqual([...outboxErrorCodes].toSorted());
});

test('every code is used, and every code that is used is in the list', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'outbox-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = new Set(
    sources.flatMap((text) =>
      [...text.matchAll(/(?:OutboxError\(|SinkError\(\s*'away',)\s*'(\w+)'/g)].map(([, code = '']) => code),
    ),
  );
  expect([...used].toSorted()).toEqual([...outboxErrorCodes].toSorted());
});

test('an error carries code, hint and cause', () => {
  const cause = new Error('why');
  const error = new OutboxError('OUTBOX_LEASE_LOST', 'no', { hint: 'do', cause });
  expect(error).toMatchObject({
    name: 'OutboxError',
    code: 'OUTBOX_LEASE_LOST',
    message: 'no',
    hint: 'do',
    cause,
  });
  expect('cause' in new OutboxError('OUTBOX_LEASE_LOST', 'no', { hint: 'do' })).toBe(false);
});
