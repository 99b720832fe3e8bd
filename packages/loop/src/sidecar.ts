// The main thread's side of the sidecar: starts its thread, feeds it metrics and warnings, closes it last.

import { url as inspectorUrl } from 'node:inspector';
import { Worker as Thread } from 'node:worker_threads';
import type { Logger } from 'pino';
import { bounded } from './bounded.ts';
import { collectChecks } from './checks.ts';
import { logFormatOf } from './logger.ts';
import type { Loop } from './loop.ts';
import { LoopError } from './loop-error.ts';
import type { FromSidecar, SidecarData, ToSidecar } from './sidecar-messages.ts';

export interface SidecarOptions {
  readonly data: Omit<SidecarData, 'logFormat' | 'logLevel' | 'takeStacks'>;
  readonly loops: readonly Loop[];
  readonly log: Logger;
  /** The metrics as text. Never rejects. */
  readonly render: () => Promise<string>;
  /** The environment variable that sets the port, for the hint when it is taken. */
  readonly portVariable: string | undefined;
  /** The thread ended and nobody asked it to. */
  readonly onDeath: (error: LoopError) => void;
}

export interface Sidecar {
  /** The port it really listens on, also when 0 was asked for. */
  readonly port: number;
  /** Hands over the metrics as they are now. */
  push(): Promise<void>;
  /** Stops answering, after what is being answered. Idempotent; bounded. */
  close(): Promise<void>;
}

const PUSH_EVERY_MS = 3_000;
const CHECK_EVERY_MS = 500;
const START_WITHIN_MS = 10_000;
const CLOSE_WITHIN_MS = 2_000;

/** @throws LoopError LOOP_PORT_IN_USE, LOOP_SIDECAR_START_FAILED */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { data, loops, log, render, onDeath } = options;
  // The thread's file is .ts when we run from the sources and .js when we run from dist.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const workerData: SidecarData = {
    ...data,
    logFormat: logFormatOf(log),
    logLevel: log.level,
    takeStacks: inspectorUrl() === undefined,
  };
  const thread = new Thread(new URL(`./sidecar-thread.${extension}`, import.meta.url), {
    name: 'sidecar',
    workerData,
    // It makes little garbage, and V8 would let it grow to tens of MiB before looking at it.
    resourceLimits: { maxYoungGenerationSizeMb: 3 },
  });
  const send = (message: ToSidecar): void => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread of our own, not a window
    thread.postMessage(message);
  };

  const renderAndSend = async (): Promise<void> => {
    send({ type: 'metrics', text: await render() });
    pushing = undefined;
  };
  let pushing: Promise<void> | undefined;
  // One rendering at a time: a slow collector must not make them pile up.
  const push = async (): Promise<void> => (pushing ??= renderAndSend());

  let lastChecks = '';
  const sendChecks = (): void => {
    const checks = collectChecks(loops, log);
    const asText = JSON.stringify(checks);
    if (asText === lastChecks) return;
    lastChecks = asText;
    send({ type: 'checks', checks });
  };

  thread.on('message', (message: FromSidecar) => {
    if (message.type === 'render') void push();
  });
  let closing: Promise<void> | undefined;
  let port: number;
  try {
    port = await listening(thread, options);
  } catch (error) {
    await thread.terminate();
    throw error;
  }
  const { promise: exited, resolve: onExit } = Promise.withResolvers<void>();
  thread.once('exit', () => {
    onExit();
    if (closing === undefined) onDeath(new LoopError('LOOP_SIDECAR_DIED', 'the sidecar thread ended'));
  });
  thread.on('error', (error) => {
    log.error({ err: error }, 'the sidecar thread failed');
  });

  sendChecks();
  await push();
  const timers = [setInterval(() => void push(), PUSH_EVERY_MS), setInterval(sendChecks, CHECK_EVERY_MS)];
  for (const timer of timers) timer.unref();

  const close = async (): Promise<void> => {
    for (const timer of timers) clearInterval(timer);
    send({ type: 'close' });
    const closed = await bounded(exited, CLOSE_WITHIN_MS);
    if (!closed.settled) await thread.terminate();
  };
  return {
    port,
    push,
    async close(): Promise<void> {
      closing ??= close();
      await closing;
    },
  };
}

async function listening(thread: Thread, options: SidecarOptions): Promise<number> {
  const { port, host } = options.data;
  const answer = new Promise<number>((resolve, reject) => {
    thread.on('message', (message: FromSidecar) => {
      if (message.type === 'listening') resolve(message.port);
      if (message.type === 'failed') reject(cannotListen(message.code, message.message, options));
    });
    thread.once('error', (cause) => {
      reject(new LoopError('LOOP_SIDECAR_START_FAILED', 'the sidecar thread failed to start', { cause }));
    });
    thread.once('exit', () => {
      reject(new LoopError('LOOP_SIDECAR_START_FAILED', 'the sidecar thread ended before it listened'));
    });
  });
  const started = await bounded(answer, START_WITHIN_MS);
  if (started.settled) return started.value;
  throw new LoopError(
    'LOOP_SIDECAR_START_FAILED',
    `the sidecar did not listen on ${host ?? 'any interface'}, port ${port}, within ${START_WITHIN_MS / 1_000} s`,
  );
}

function cannotListen(code: string | undefined, message: string, options: SidecarOptions): LoopError {
  const { port, host } = options.data;
  const variable = options.portVariable ?? 'the port option';
  if (code === 'EADDRINUSE') {
    return new LoopError('LOOP_PORT_IN_USE', `port ${port} is in use by another process`, {
      hint: `set ${variable} to a free port, or stop what listens there`,
    });
  }
  return new LoopError(
    'LOOP_SIDECAR_START_FAILED',
    `the sidecar cannot listen on ${host ?? 'any interface'}, port ${port}: ${message}`,
    { hint: code === 'EACCES' ? `set ${variable} to a port above 1023` : `check the host and ${variable}` },
  );
}
