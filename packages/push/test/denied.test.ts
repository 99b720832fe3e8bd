// The alarm for services that refuse our keys, when strangers try to sound it, or to keep it from sounding.

import { expect, test } from 'vitest';
import { createDeniedAlarm } from '../src/denied.ts';
import { serviceOf } from '../src/service.ts';

test('a thousand made-up origins that refuse us leave room for the service that matters, which is named first', () => {
  const changes: [string, number][] = [];
  const alarm = createDeniedAlarm((service, origins) => changes.push([service, origins]));
  for (let n = 0; n < 1_000; n += 1) alarm.denied(`https://${n}.evil.example`);
  expect(changes.at(-1)).toEqual(['other', 100]);
  alarm.denied('https://fcm.googleapis.com');
  alarm.denied('https://fcm.googleapis.com');
  expect(changes.at(-1)).toEqual(['fcm', 1]);
  expect(changes).toHaveLength(101);
  expect(alarm.check()).toMatchObject({
    status: 'degraded',
    detail: expect.stringMatching(
      /^https:\/\/fcm\.googleapis\.com and 100 more refuses our VAPID token/,
    ) as string,
  });
  alarm.accepted('https://fcm.googleapis.com');
  expect(changes.at(-1)).toEqual(['fcm', 0]);
});

test.each([
  ['https://fcm.googleapis.com', 'fcm'],
  ['https://android.googleapis.com', 'fcm'],
  ['https://jmt17.google.com', 'fcm'],
  // Where anybody may keep files.
  ['https://storage.googleapis.com', 'other'],
  ['https://fcm.googleapis.com.evil.example', 'other'],
  ['https://fcm.googleapis.com:8443', 'other'],
  ['https://evilpush.apple.com', 'other'],
  ['https://web.push.apple.com', 'apple'],
  ['https://updates.push.services.mozilla.com', 'mozilla'],
  ['https://wns2-par02p.notify.windows.com', 'windows'],
  ['', 'other'],
])('%s is counted as %s', (origin, service) => {
  expect(serviceOf(origin)).toBe(service);
});
