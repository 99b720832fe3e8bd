// Endpoints come from strangers: which are refused, before and after DNS.

import type { LookupAddress } from 'node:dns';
import { parseEndpoint } from '@pulsebox/push';
import { expect, test } from 'vitest';
import { isPublicAddress } from '../src/address.ts';
import { guardedLookup } from '../src/guarded-lookup.ts';

test.each([
  'http://push.example/x',
  'ftp://push.example/x',
  'push.example/x',
  'https://ann:swordfish@push.example/x',
  'https://push.example:8443/x',
  'https://127.0.0.1/x',
  'https://127.1/x',
  'https://0x7f.0.0.1/x',
  'https://2130706433/x',
  'https://017700000001/x',
  'https://[::1]/x',
  'https://[::ffff:127.0.0.1]/x',
  'https://[::ffff:a9fe:a9fe]/x',
  'https://169.254.169.254/latest/meta-data',
  'https://10.0.0.1/x',
  'https://[fd00:ec2::254]/x',
  'https://[fe80::1]/x',
  'https://127.0.0.1./x',
  'https://127.0.1/x',
  'https://0177.0.0.1/x',
  'https://0x7f000001/x',
  'https://①②⑦.⓪.⓪.①/x',
  'https://１２７.０.０.１/x',
  'https://169。254。169。254/x',
  'https:\\\\127.0.0.1\\x',
  'https:127.0.0.1/x',
  'https://@127.0.0.1/x',
  'https://fcm.googleapis.com@127.0.0.1/x',
  'https://127.0.0.1%2f.example/x',
  'https://12\n7.0.0.1/x',
  'https://0/x',
  'https://[::]/x',
  'https://[::127.0.0.1]/x',
  'https://[::ffff:0:127.0.0.1]/x',
  'https://[64:ff9b::127.0.0.1]/x',
  'https://[2002:7f00:1::]/x',
  'https://[2001:0:7f00:1::]/x',
  'https://[fe80::1%25eth0]/x',
  'https://push.example:0/x',
  'https://push.example:99999/x',
  'https://a b/x',
  'javascript:alert(1)//x',
  'data:,/x',
  'blob:https://push.example/x',
  `https://push.example/${'x'.repeat(2_000)}`,
])('%s is refused, and what comes after the host is not repeated', (endpoint) => {
  let fault: unknown;
  try {
    parseEndpoint(endpoint);
  } catch (error) {
    fault = error;
  }
  expect(fault).toMatchObject({ code: 'PUSH_ENDPOINT_FORBIDDEN' });
  expect(String(fault)).not.toMatch(/\/x|ann:|swordfish|latest/);
});

test('of the last one, what browsers would strip is stripped, and the rest is what is checked', () => {
  expect(parseEndpoint(' https://push.exa\tmple/a\nb c?d e#f ')).toEqual({
    origin: 'https://push.example',
    path: '/ab%20c?d%20e',
  });
  // Names are compared as DNS has them, whatever they are written in.
  expect(parseEndpoint('https://BÜCHER.example/x').origin).toBe('https://xn--bcher-kva.example');
  const policy = { allowedOrigins: ['https://fcm.googleapis.com'] };
  for (const other of [
    'https://fcm.googleapis.com./x',
    'https://fcm.googleapis.com.evil.example/x',
    'https://evil.example/fcm.googleapis.com',
    'https://fcm.googleapis.com:8443/x',
    'https://fcm。googleapis。com.evil.example/x',
    'https://fcm.googleapis.com\\.evil.example@evil.example/x',
  ]) {
    const origin = new URL(other).origin;
    if (origin === 'https://fcm.googleapis.com') continue;
    expect(() => parseEndpoint(other, policy), other).toThrow('an allowed origin');
  }
});

test('an endpoint of the public internet is taken apart', () => {
  expect(parseEndpoint('https://fcm.googleapis.com/fcm/send/a?b=c#d')).toEqual({
    origin: 'https://fcm.googleapis.com',
    path: '/fcm/send/a?b=c',
  });
  expect(parseEndpoint('https://8.8.8.8/x').origin).toBe('https://8.8.8.8');
});

test('with allowed origins there are no others; with private ones an own service may stand inside the network', () => {
  const policy = {
    allowedOrigins: ['https://fcm.googleapis.com'],
    privateOrigins: ['https://10.0.0.5:8443'],
  };
  expect(parseEndpoint('https://fcm.googleapis.com/x', policy).path).toBe('/x');
  expect(parseEndpoint('https://10.0.0.5:8443/x', policy).path).toBe('/x');
  expect(() => parseEndpoint('https://updates.push.services.mozilla.com/x', policy)).toThrow(
    'an allowed origin',
  );
  expect(() => parseEndpoint('https://10.0.0.6:8443/x', policy)).toThrow('an allowed origin');
});

test.each([
  ['1.1.1.1', true],
  ['142.250.1.95', true],
  ['2a00:1450:4001:80f::200a', true],
  ['64:ff9b::808:808', true],
  ['64:ff9b::7f00:1', false],
  ['64:ff9b::a00:1', false],
  ['64:ff9b:1::1', false],
  ['0.0.0.0', false],
  ['100.64.0.1', false],
  ['100.127.255.255', false],
  ['100.128.0.1', true],
  ['172.15.0.1', true],
  ['172.16.0.1', false],
  ['172.31.255.255', false],
  ['192.168.1.1', false],
  ['198.18.0.1', false],
  ['224.0.0.1', false],
  ['255.255.255.255', false],
  ['::', false],
  ['::1', false],
  ['::ffff:1.1.1.1', false],
  ['fe80::1%eth0', false],
  ['2001:db8::1', false],
  ['2002:7f00:1::', false],
  ['ff02::1', false],
  ['localhost', false],
  ['', false],
])('%s is public: %s', (address, isPublic) => {
  expect(isPublicAddress(address)).toBe(isPublic);
});

interface Resolved {
  readonly error: NodeJS.ErrnoException | null;
  readonly address: string | LookupAddress[];
}

async function resolve(addresses: readonly string[], all: boolean): Promise<Resolved> {
  const resolver = guardedLookup((_name, _options, done) =>
    done(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    ),
  );
  return await new Promise((settle) => {
    resolver('push.example', { all }, (error, address) => settle({ error, address }));
  });
}

test('a lookup hands on the addresses that it has checked', async () => {
  expect(await resolve(['1.1.1.1', '2606:4700::1111'], true)).toEqual({
    error: null,
    address: [
      { address: '1.1.1.1', family: 4 },
      { address: '2606:4700::1111', family: 6 },
    ],
  });
  expect(await resolve(['1.1.1.1'], false)).toEqual({ error: null, address: '1.1.1.1' });
});

test('a name with a private address among public ones is refused, and so is one with none', async () => {
  for (const addresses of [['1.1.1.1', '169.254.169.254'], ['::1'], []]) {
    for (const all of [true, false])
      expect((await resolve(addresses, all)).error).toMatchObject({ code: 'PUSH_ENDPOINT_FORBIDDEN' });
  }
});

test('the system resolver is asked by default, and its errors are handed on', async () => {
  const { error } = await new Promise<Resolved>((settle) => {
    guardedLookup()('localhost', { all: true }, (error, address) => settle({ error, address }));
  });
  expect(error).toMatchObject({ code: 'PUSH_ENDPOINT_FORBIDDEN' });
  const failing = guardedLookup((_name, _options, done) =>
    done(Object.assign(new Error('no'), { code: 'ENOTFOUND' }), []),
  );
  const { error: passed } = await new Promise<Resolved>((settle) => {
    failing('push.example', {}, (error, address) => settle({ error, address }));
  });
  expect(passed).toMatchObject({ code: 'ENOTFOUND' });
});
