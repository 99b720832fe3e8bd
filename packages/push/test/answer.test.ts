import { expect, test } from 'vitest';
import { readAnswer, retryAfter } from '../src/answer.ts';

function kind(status: number, body = ''): string {
  return readAnswer(status, { retryAfter: undefined }, body).kind;
}

test.each([
  [200, 'sent'],
  [201, 'sent'],
  [202, 'sent'],
  [204, 'sent'],
  [301, 'rejected'],
  [307, 'rejected'],
  [400, 'rejected'],
  [401, 'denied'],
  [403, 'denied'],
  [404, 'gone'],
  [406, 'throttled'],
  [408, 'unavailable'],
  [410, 'gone'],
  [413, 'rejected'],
  [422, 'rejected'],
  [425, 'unavailable'],
  [429, 'throttled'],
  [500, 'unavailable'],
  [503, 'unavailable'],
])('%d is %s', (status, expected) => {
  expect(kind(status)).toBe(expected);
});

test('a 400 that speaks of the VAPID token is about us, not about the message', () => {
  expect(kind(400, 'the VAPID credentials are wrong')).toBe('denied');
  expect(kind(400, 'invalid JWT provided')).toBe('denied');
});

test("a service's own word is shown, and nothing else of what it says", () => {
  expect(readAnswer(403, { retryAfter: undefined }, '{"reason":"BadJwtToken"}').reason).toBe('BadJwtToken');
  expect(readAnswer(410, { retryAfter: undefined }, '{"code":410,"errno":106,"error":"Gone"}').reason).toBe(
    '106',
  );
  expect(readAnswer(400, { retryAfter: undefined }, '{"reason":"token abc/def"}').reason).toBeUndefined();
});

test('Retry-After is seconds or a date', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  expect(retryAfter('120', now)).toBe(120_000);
  expect(retryAfter('Sat, 21 Nov 2026 12:00:30 GMT', now)).toBe(30_000);
  expect(retryAfter('Sat, 21 Nov 2026 11:00:00 GMT', now)).toBe(0);
  expect(retryAfter('soon', now)).toBeUndefined();
  expect(retryAfter('-1', now)).toBeUndefined();
  expect(retryAfter(undefined, now)).toBeUndefined();
});
