// The thread that encrypts, batch by batch, in the order in which they come.

import { parentPort } from 'node:worker_threads';
import { packBodies } from './encryption-batch.ts';
import type { EncryptionBatch } from './encryption-batch.ts';

if (parentPort === null) throw new Error('encryption-thread is the code of a worker thread');
const port = parentPort;

port.on('message', (batch: EncryptionBatch) => {
  const bodies = packBodies(batch);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- the port of a thread, not a window
  port.postMessage(bodies, [bodies.bytes.buffer]);
});
