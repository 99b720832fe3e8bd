// The thread that encrypts: in order, and no message waits for a thread that is no more.

import { once } from 'node:events';
import { browserKeys } from '@pulsebox/test-support';
import { expect, onTestFinished, test } from 'vitest';
import { createEncryptor } from '../src/encryptor.ts';
import type { Encryptor, EncryptorOptions } from '../src/encryptor.ts';

const browsers = Array.from({ length: 5 }, () => browserKeys());
const broken = { p256dh: 'none', auth: 'none' };

function encryptor(options: EncryptorOptions = {}): Encryptor {
  const made = createEncryptor(options);
  onTestFinished(() => made.close());
  return made;
}

/** Has each browser read a message of its own; one more has keys that are none. */
async function expectAllRead(encrypting: Encryptor): Promise<void> {
  const bodies = await Promise.all([
    encrypting.encrypt(broken, 'nobody'),
    ...browsers.map((keys, n) => encrypting.encrypt(keys, `message ${n}`)),
  ]);
  const read = browsers.map((browser, n) => browser.decrypt(bodies[n + 1] ?? Buffer.alloc(0)));
  expect(bodies[0]).toBeUndefined();
  expect(read).toEqual(browsers.map((_, n) => `message ${n}`));
}

test('every browser gets its own message, whatever was asked for at once, and however often', async () => {
  const encrypting = encryptor();
  await Promise.all(Array.from({ length: 20 }, () => expectAllRead(encrypting)));
  await expectAllRead(encrypting);
});

test('a message is encrypted where it was asked for when the thread has ended, and a warning says so', async () => {
  const encrypting = encryptor({ thread: new URL('data:text/javascript,process.exit(1)') });
  const warned = once(process, 'warning') as Promise<[Error]>;
  await expectAllRead(encrypting);
  expect((await warned)[0].message).toContain('the main thread does its work');
  await expectAllRead(encrypting);
});

test('a thread that takes messages and breaks keeps none of them', async () => {
  const code = `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', () => { throw new Error('broken'); });`;
  const encrypting = encryptor({ thread: new URL(`data:text/javascript,${encodeURIComponent(code)}`) });
  const warned = once(process, 'warning');
  await expectAllRead(encrypting);
  await warned;
});

test('closing keeps no message waiting, and can be done twice, or before anything was asked', async () => {
  const unused = encryptor();
  await Promise.all([unused.close(), unused.close()]);
  const encrypting = encryptor();
  const asked = expectAllRead(encrypting);
  await Promise.all([encrypting.close(), encrypting.close()]);
  await asked;
  await expectAllRead(encrypting);
});
