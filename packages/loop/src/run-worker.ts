// Runs a worker as the whole of a process: signals, last words, exit codes.

import { constants } from 'node:os';
import { endProcess, endProcessSoon } from './end-process.ts';
import type { WorkerOptions } from './worker-options.ts';
import { createWorker } from './worker.ts';

/**
 * Runs loops, sidecar, signals and drain until the worker has come to its end; resolves to the exit code.
 *
 * It owns the process. SIGTERM and SIGINT drain it; a second one ends it at once with 128 + the signal's number
 * (143, 130). An uncaught exception or unhandled rejection is logged as fatal and ends it at once with 1, and so does
 * a loop that ends unasked. When something still holds the process open after the end, it is named and cut off.
 *
 * @throws LoopError LOOP_OPTIONS_INVALID
 */
export async function runWorker(options: WorkerOptions): Promise<number> {
  const { log } = options;
  const worker = createWorker(options);
  let firstSignalAt: number | undefined;

  const onSignal = (signal: 'SIGTERM' | 'SIGINT'): void => {
    if (firstSignalAt === undefined) {
      firstSignalAt = performance.now();
    } else if (performance.now() - firstSignalAt > SAME_SIGNAL_MS) {
      log.warn({ signal }, 'a second signal: ending at once');
      endProcess(128 + constants.signals[signal]);
    }
    void worker.stop(signal);
  };
  const onUncaught = (error: unknown, origin: string): void => {
    log.fatal({ err: error, origin }, 'a fault that nobody handled: ending at once');
    endProcess(1);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', (reason) => {
    onUncaught(reason, 'unhandledRejection');
  });

  try {
    await worker.start();
  } catch (error) {
    log.fatal({ err: error }, error instanceof Error ? error.message : 'the worker could not be started');
  }
  const exitCode = await worker.finished;
  lingering(exitCode, options);
  return exitCode;
}

/**
 * A Ctrl-C reaches a whole process group, and a parent such as npm may pass its own copy on: signals this close
 * together, in milliseconds, are one wish delivered twice, not somebody who has lost patience.
 */
const SAME_SIGNAL_MS = 200;

/** How long a process may take to end by itself after its worker has, in milliseconds. */
const LINGER_MS = 2_000;

function lingering(exitCode: number, { log }: WorkerOptions): void {
  if (exitCode !== 0) {
    endProcessSoon(exitCode);
    return;
  }
  process.exitCode = 0;
  setTimeout(() => {
    log.warn({ open: process.getActiveResourcesInfo() }, 'something holds the process open: ending it');
    endProcess(exitCode);
  }, LINGER_MS).unref();
}
