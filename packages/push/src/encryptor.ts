// Encryption beside the main thread, which sends meanwhile. One thread is enough: it encrypts faster than the main
// thread can send.

import { Worker as Thread } from 'node:worker_threads';
import { unpackBodies } from './encryption-batch.ts';
import type { Bodies, EncryptionBatch, Plain } from './encryption-batch.ts';
import { encryptMessage } from './encryption.ts';
import type { EncryptionKeys } from './encryption.ts';

export interface Encryptor {
  /** The body of the request. Undefined: no key agreement is possible with such keys. Never rejects. */
  encrypt(keys: EncryptionKeys, plaintext: string): Promise<Buffer | undefined>;
  /** Idempotent. What is under way, or comes later, is encrypted where it was asked for. */
  close(): Promise<void>;
}

interface Waiting extends Plain {
  readonly resolve: (body: Buffer | undefined) => void;
}

export interface EncryptorOptions {
  /** The code of the thread. Default: encryption-thread, beside this file. */
  readonly thread?: URL;
}

/** One that it works on, and one that waits for it: what comes meanwhile is the batch after that. */
const BATCHES_AWAY = 2;

// The thread's file is .ts when we run from the sources and .js when we run from dist.
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const THREAD = new URL(`./encryption-thread.${EXTENSION}`, import.meta.url);

export function createEncryptor({ thread: code = THREAD }: EncryptorOptions = {}): Encryptor {
  let thread: Thread | undefined;
  let over = false;
  let waiting: Waiting[] = [];
  /** What the thread has, in the order in which it was sent. */
  let away: Waiting[][] = [];
  let sending = false;

  function start(): Thread {
    const started = new Thread(code, {
      name: 'encryption',
      // What it works on is small and gone at once: with more it is no faster.
      resourceLimits: { maxYoungGenerationSizeMb: 3 },
    });
    started.on('message', take);
    let detail = 'It ended by itself.';
    // `exit` follows.
    started.on('error', (error) => {
      detail = error.message;
    });
    started.once('exit', () => {
      if (!over)
        process.emitWarning('the thread that encrypts messages has ended; the main thread does its work', {
          detail,
        });
      giveUp();
    });
    return started;
  }

  function take(bodies: Bodies): void {
    const batch = away.shift() ?? [];
    for (const [n, body] of unpackBodies(bodies).entries()) batch[n]?.resolve(body);
    send();
  }

  /** It is not started again: what ended it once would end it for ever. */
  function giveUp(): void {
    over = true;
    thread = undefined;
    const left = [...away.flat(), ...waiting];
    away = [];
    waiting = [];
    for (const { keys, plaintext, resolve } of left) resolve(encryptMessage(keys, plaintext));
  }

  function send(): void {
    sending = false;
    if (over) return giveUp();
    if (waiting.length > 0 && away.length < BATCHES_AWAY) {
      thread ??= start();
      const batch: EncryptionBatch = waiting.map(({ keys, plaintext }) => ({ keys, plaintext }));
      away.push(waiting);
      waiting = [];
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread of our own, not a window
      thread.postMessage(batch);
    }
    // It keeps the process alive while somebody waits for it.
    if (away.length > 0) thread?.ref();
    else thread?.unref();
  }

  return {
    encrypt({ p256dh, auth }, plaintext): Promise<Buffer | undefined> {
      const keys = { p256dh, auth };
      if (over) return Promise.resolve(encryptMessage(keys, plaintext));
      return new Promise((resolve) => {
        waiting.push({ keys, plaintext, resolve });
        if (sending) return;
        sending = true;
        // After everybody else of this turn has asked.
        process.nextTick(send);
      });
    },
    async close(): Promise<void> {
      over = true;
      await thread?.terminate();
      giveUp();
    },
  };
}
