// What is checked of a message before anything is sent, and that faults say what to change.

import { createMessage, LONGEST_PLAINTEXT } from '@pulsebox/push';
import { expect, test } from 'vitest';

test('a message is its notification as JSON, kept for a day at normal urgency unless told otherwise', () => {
  expect(createMessage({ title: 'Hello' })).toEqual({
    plaintext: '{"title":"Hello"}',
    ttlSeconds: 86_400,
    urgency: 'normal',
    topic: undefined,
  });
  const options = { ttlSeconds: 0, urgency: 'high', topic: 'score_1-2' } as const;
  expect(createMessage({ body: 'Goal' }, options)).toMatchObject(options);
});

test('the longest plaintext fits and one byte more does not, counted as UTF-8', () => {
  const room = LONGEST_PLAINTEXT - '{"title":""}'.length;
  expect(Buffer.byteLength(createMessage({ title: 'x'.repeat(room) }).plaintext)).toBe(3_993);
  const euros = Math.floor(room / 3);
  expect(() => createMessage({ title: '€'.repeat(euros) })).not.toThrow();
  expect(() => createMessage({ title: '€'.repeat(euros + 1) })).toThrow(
    expect.objectContaining({
      code: 'PUSH_MESSAGE_INVALID',
      message: expect.stringMatching(
        /^expected a payload of at most 3,993 bytes as JSON, got 3,99\d$/,
      ) as string,
      hint: expect.stringContaining('fetch the rest') as string,
    }),
  );
});

test('what is measured is what is sent: UTF-8, with half a surrogate pair written as an escape', () => {
  expect(createMessage({ title: '\ud83d' }).plaintext).toBe('{"title":"\\ud83d"}');
  expect(createMessage({ title: '🎉' }).plaintext).toBe('{"title":"🎉"}');
  const room = LONGEST_PLAINTEXT - '{"title":""}'.length;
  // Four bytes as a pair, six each as halves.
  expect(() => createMessage({ title: '🎉'.repeat(Math.floor(room / 4)) })).not.toThrow();
  expect(() => createMessage({ title: '🎉'.repeat(Math.floor(room / 4) + 1) })).toThrow('3,99');
  expect(() => createMessage({ title: '\ud83d'.repeat(Math.floor(room / 6)) })).not.toThrow();
  expect(() => createMessage({ title: '\ud83d'.repeat(Math.floor(room / 6) + 1) })).toThrow('3,99');
  expect(() => createMessage({ title: '\u0000'.repeat(1_000) })).toThrow('bytes as JSON, got 6,012');
});

test('the names of the prototype are names like others: refused, and only data among data', () => {
  const given = JSON.parse('{"title":"x","__proto__":{"body":"y"}}') as object;
  expect(() => createMessage(given)).toThrow('got "__proto__" as well');
  expect(() => createMessage(JSON.parse('{"constructor":{"prototype":{}}}') as object)).toThrow(
    '"constructor"',
  );
  const data = JSON.parse('{"__proto__":{"polluted":true},"toString":1}') as object;
  expect(createMessage({ data }).plaintext).toBe('{"data":{"__proto__":{"polluted":true},"toString":1}}');
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  // What is inherited is none of it.
  expect(() => createMessage(Object.create({ title: 'x' }) as object)).toThrow('at least one of');
});

test('a payload that cannot be written is refused in words, not by a broken stack', () => {
  let data: unknown = 1;
  for (let n = 0; n < 100_000; n += 1) data = [data];
  expect(() => createMessage({ data })).toThrow('one that is nested too deeply');
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  expect(() => createMessage({ data: circle })).toThrow('a payload that can be written as JSON');
});

test.each([
  [{ title: 1 }, {}, "expected the payload's title to be a text, got 1"],
  ['Hello', {}, 'expected a payload that is an object, got "Hello"'],
  [[], {}, 'expected a payload that is an object, got an array'],
  [{}, {}, 'expected a payload with at least one of title, body, url, tag and data, got none'],
  [{ titel: 'x' }, {}, 'expected a payload of title, body, url, tag and data, got "titel" as well'],
  [
    { title: 'x' },
    { ttlSeconds: -1 },
    'expected a ttl in whole seconds from 0 to 2419200 (four weeks), got -1',
  ],
  [{ title: 'x' }, { ttlSeconds: 2_419_201 }, 'got 2419201'],
  [{ title: 'x' }, { ttlSeconds: '60' }, 'got "60"'],
  [{ title: 'x' }, { urgency: 'now' }, 'expected an urgency out of very-low, low, normal, high, got "now"'],
  [{ title: 'x' }, { topic: 'a b' }, 'expected a topic of 1 to 32 letters, digits, - and _, got "a b"'],
  [{ title: 'x' }, { topic: 'a'.repeat(33) }, 'expected a topic of 1 to 32'],
  [{ title: 'x' }, { topic: '' }, 'got ""'],
])('%j with %j is refused in words', (notification, options, said) => {
  expect(() => createMessage(notification as never, options as never)).toThrow(said);
});
