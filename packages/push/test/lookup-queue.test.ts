// Names that take their time to be resolved, and those that must not wait for them.

import { expect, test } from 'vitest';
import { queuedLookup } from '../src/lookup-queue.ts';

interface Desk {
  readonly asked: string[];
  ask(hostname: string): Promise<string>;
  /** The system answers to the name. */
  answer(hostname: string): Promise<void>;
}

function desk(): Desk {
  const asked: string[] = [];
  const open = new Map<string, () => void>();
  const lookup = queuedLookup((hostname, _options, callback) => {
    asked.push(hostname);
    open.set(hostname, () => callback(null, [{ address: '1.1.1.1', family: 4 }]));
  });
  return {
    asked,
    ask: (hostname) =>
      new Promise((resolve) => {
        lookup(hostname, {}, (error, [first]) => resolve(error?.code ?? first?.address ?? ''));
      }),
    async answer(hostname): Promise<void> {
      open.get(hostname)?.();
      await Promise.resolve();
    },
  };
}

test('names of strangers wait for each other; those of the known services for nobody', async () => {
  const { asked, ask, answer } = desk();
  const strangers = ['a.example', 'b.example', 'c.example', 'd.example'].map(ask);
  const known = ask('fcm.googleapis.com');
  expect(asked).toEqual(['a.example', 'b.example', 'fcm.googleapis.com']);
  await answer('fcm.googleapis.com');
  expect(await known).toBe('1.1.1.1');
  await answer('b.example');
  expect(asked.at(-1)).toBe('c.example');
  for (const name of ['a.example', 'c.example', 'd.example']) await answer(name);
  expect(await Promise.all(strangers)).toEqual(Array.from({ length: 4 }, () => '1.1.1.1'));
});

test('a queue that nobody would live to see the end of is not made longer', async () => {
  const { asked, ask, answer } = desk();
  const waiting = Array.from({ length: 102 }, (_, n) => ask(`${n}.example`));
  expect(await ask('one-more.example')).toBe('EAI_AGAIN');
  for (let n = 0; n < 102; n += 1) await answer(`${n}.example`);
  await Promise.all(waiting);
  expect(asked).toHaveLength(102);
});
