// What goes to the thread that encrypts, and what comes back: as few objects as possible, since each is copied.

import { encryptMessage } from './encryption.ts';
import type { EncryptionKeys } from './encryption.ts';

export interface Plain {
  readonly keys: EncryptionKeys;
  readonly plaintext: string;
}

export type EncryptionBatch = readonly Plain[];

export interface Bodies {
  /** One behind the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Of each, in bytes; 0: no key agreement is possible with its keys. */
  readonly lengths: readonly number[];
}

export function packBodies(batch: EncryptionBatch): Bodies {
  const bodies = batch.map(({ keys, plaintext }) => encryptMessage(keys, plaintext));
  const lengths = bodies.map((body) => body?.length ?? 0);
  // Not of Node's pool of small buffers: the memory is handed over whole.
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const body of bodies) {
    if (body === undefined) continue;
    bytes.set(body, at);
    at += body.length;
  }
  return { bytes, lengths };
}

export function unpackBodies({ bytes, lengths }: Bodies): readonly (Buffer | undefined)[] {
  let at = 0;
  return lengths.map((length) => {
    const body = length === 0 ? undefined : Buffer.from(bytes.buffer, at, length);
    at += length;
    return body;
  });
}
