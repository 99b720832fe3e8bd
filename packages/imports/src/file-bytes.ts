// The bytes of a file, unpacked where it is packed; and what is known of how much of it has been read.

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { ImportsError } from './imports-error.ts';

export interface FilePrefix {
  /** Of the file as it lies on the disk. */
  readonly bytesRead: number;
  /** SHA-256 over them. */
  readonly hash: Buffer;
}

export interface FileBytes extends AsyncIterable<Buffer> {
  /** What has been read until now: more than what has come out, never less. */
  prefix(): FilePrefix;
}

export interface ReadOptions {
  readonly signal: AbortSignal;
  /** Called with each block: rows that are known already are passed over in silence, for as long as it takes. */
  readonly progress: () => void;
}

const BLOCK_BYTES = 262_144;

/**
 * Reads from the beginning. Gzip is recognised by its first bytes, several archives one after the other included.
 *
 * @throws IMPORTS_FILE_BROKEN when an archive is cut off or damaged
 */
export function readFileBytes(handle: FileHandle, { signal, progress }: ReadOptions): FileBytes {
  const hash = createHash('sha256');
  let bytesRead = 0;

  async function* blocks(): AsyncGenerator<Buffer> {
    for (;;) {
      signal.throwIfAborted();
      const { buffer, bytesRead: count } = await handle.read({
        buffer: Buffer.allocUnsafeSlow(BLOCK_BYTES),
        position: bytesRead,
      });
      if (count === 0) return;
      const block = buffer.subarray(0, count);
      bytesRead += count;
      hash.update(block);
      progress();
      yield block;
    }
  }

  async function* bytes(): AsyncGenerator<Buffer> {
    const source = blocks();
    const { value: first } = await source.next();
    if (first === undefined) return;
    if (first[0] !== 0x1f || first[1] !== 0x8b) {
      yield first;
      yield* source;
      return;
    }
    const packed = Readable.from(startingWith(first, source), {
      objectMode: false,
      highWaterMark: BLOCK_BYTES,
    });
    const gunzip = createGunzip({ chunkSize: BLOCK_BYTES });
    // What fails on the way in must come out as well.
    packed.on('error', (error) => gunzip.destroy(error));
    try {
      for await (const part of packed.pipe(gunzip)) yield part as Buffer;
    } catch (error) {
      throw gzipFault(error);
    } finally {
      packed.destroy();
      gunzip.destroy();
    }
  }

  return {
    prefix: () => ({ bytesRead, hash: hash.copy().digest() }),
    [Symbol.asyncIterator]: () => bytes(),
  };
}

/** SHA-256 over the first `length` bytes; of all, where there are fewer. */
export async function hashPrefix(
  handle: FileHandle,
  length: number,
  { signal, progress }: ReadOptions,
): Promise<Buffer> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  for (let at = 0; at < length; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read({
      buffer,
      length: Math.min(BLOCK_BYTES, length - at),
      position: at,
    });
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
    progress();
  }
  return hash.digest();
}

async function* startingWith(first: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

function gzipFault(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  // That of a DOMException, which an abort is, is a number.
  if (typeof code !== 'string' || !code.startsWith('Z_')) return error;
  const what = code === 'Z_BUF_ERROR' ? 'a whole gzip archive' : 'a gzip archive that is in order';
  const got = code === 'Z_BUF_ERROR' ? 'one that is cut off' : `one that is not (${message})`;
  return new ImportsError('IMPORTS_FILE_BROKEN', `expected ${what}, got ${got}`, {
    hint: 'what stands before the fault has been imported; put the whole file in its place and retry',
    cause: error,
  });
}
