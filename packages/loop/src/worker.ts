// A worker: loops, their clocks and the sidecar, started and stopped as one. It leaves the process itself alone
// (signals, exit): that is run-worker.ts.

import { bounded } from './bounded.ts';
import { createClocks, EVENT_LOOP_BEAT_MS, eventLoopStaleMs, staleMs } from './liveness.ts';
import type { Loop } from './loop.ts';
import { LoopError } from './loop-error.ts';
import { createRegistry, createWorkerMetrics } from './metrics.ts';
import { createRenderer } from './render-metrics.ts';
import { runLoop } from './run-loop.ts';
import { startSidecar, type Sidecar } from './sidecar.ts';
import { checkWorkerOptions, type WorkerOptions } from './worker-options.ts';

export interface Worker {
  /**
   * Resolves when the sidecar listens and the loops turn. Idempotent; does nothing after a stop.
   * @throws LoopError LOOP_PORT_IN_USE, LOOP_SIDECAR_START_FAILED; the worker is stopped then
   */
  start(): Promise<void>;
  /** Drains: see ORDER OF STOP in the README. Idempotent, safe before, during and after start. Never rejects. */
  stop(reason?: string): Promise<void>;
  /** The exit code, once the worker has come to its end, however it came. Never rejects. */
  readonly finished: Promise<number>;
  /** The port of the sidecar, once it listens. */
  readonly port: number | undefined;
}

/** @throws LoopError LOOP_OPTIONS_INVALID */
export function createWorker(options: WorkerOptions): Worker {
  checkWorkerOptions(options);
  const { name, version, loops, log, once, stalenessMultiplier } = options;
  const { drainMs = 45_000, abortGraceMs = 2_000, closeMs = 3_000, commit = 'unknown' } = options;
  const registry = options.registry ?? createRegistry();
  const metricsOf = createWorkerMetrics({
    registry,
    worker: name,
    version,
    commit,
    loops: loops.map((l) => l.name),
  });
  const clocks = createClocks(loops.length);
  const stopping = new AbortController();
  const aborting = new AbortController();
  const turning = new Map<Loop, Promise<void>>();
  let exitCode = 0;
  let sidecar: Sidecar | undefined;
  let beat: NodeJS.Timeout | undefined;
  let starting: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;
  const { promise: finished, resolve: finish } = Promise.withResolvers<number>();

  async function start(): Promise<void> {
    if (!once) {
      beat = setInterval(clocks.beatEventLoop, EVENT_LOOP_BEAT_MS);
      beat.unref();
      sidecar = await startSidecar({
        data: {
          buffer: clocks.buffer,
          worker: name,
          version,
          loops: loops.map((loop) => ({
            name: loop.name,
            staleMs: staleMs(stalenessMultiplier, loop.cadenceMs),
          })),
          eventLoopStaleMs: eventLoopStaleMs(stalenessMultiplier),
          port: options.port,
          host: options.host,
        },
        loops,
        log,
        render: createRenderer(registry, log),
        portVariable: options.portVariable,
        onDeath: crash,
      });
      log.info({ port: sidecar.port, loops: loops.map((loop) => loop.name) }, 'started');
    }
    if (stopping.signal.aborted) return;
    clocks.setState('running');
    for (const [index, loop] of loops.entries()) turning.set(loop, run(loop, index));
    // Turned once, a worker is done, and goes the same way out as one that is asked to.
    if (once) void Promise.all(turning.values()).then(async () => stop('every loop has ticked once'));
  }

  async function run(loop: Loop, index: number): Promise<void> {
    const clock = clocks.loop(index);
    const context = { loop, clock, metrics: metricsOf(loop.name), log: log.child({ loop: loop.name }), once };
    try {
      const { failed } = await runLoop({ ...context, stopping: stopping.signal, aborting: aborting.signal });
      if (once && failed && !stopping.signal.aborted) exitCode = 1;
      else if (!once && !stopping.signal.aborted) endedUnasked(loop);
    } catch (error) {
      endedUnasked(loop, error);
    }
  }

  function endedUnasked(loop: Loop, cause?: unknown): void {
    crash(
      new LoopError('LOOP_ENDED_UNASKED', `the loop ${loop.name} ended although nobody asked it to`, {
        cause,
      }),
    );
  }

  /** Something that must not end has ended: no drain, no waiting. The supervisor starts a new process. */
  function crash(error: LoopError): void {
    log.fatal({ err: error }, error.message);
    exitCode = 1;
    clocks.setState('draining');
    stopping.abort();
    aborting.abort(error);
    clearInterval(beat);
    void sidecar?.close();
    finish(exitCode);
  }

  async function stop(reason: string): Promise<void> {
    stopped ??= drain(reason);
    await stopped;
  }

  async function drain(reason: string): Promise<void> {
    clocks.setState('draining');
    stopping.abort();
    if (starting !== undefined) log.info({ reason }, 'stopping');
    // A start that is under way sees `stopping` and goes no further; one that failed has said so itself.
    await starting?.catch(() => undefined);

    const over = setTimeout(() => {
      const error = new LoopError('LOOP_DRAIN_DEADLINE', `the drain time of ${drainMs} ms is over`);
      log.warn({ err: error }, 'aborting what is in flight');
      aborting.abort(error);
    }, drainMs);
    await Promise.all([...turning.keys()].map(stopLoop));
    clearTimeout(over);

    if (options.close !== undefined) await closing('the worker', options.close);
    await sidecar?.push();
    clearInterval(beat);
    await sidecar?.close();
    if (starting !== undefined) log.info({ exitCode }, 'stopped');
    finish(exitCode);
  }

  /** Each loop gives its leases back as soon as it has nothing in flight, whatever the others still do. */
  async function stopLoop(loop: Loop): Promise<void> {
    const ended = await bounded(turning.get(loop) ?? Promise.resolve(), drainMs + abortGraceMs);
    if (!ended.settled) leaveBehind(loop);
    else if (loop.stop !== undefined) await closing(`the loop ${loop.name}`, loop.stop.bind(loop));
  }

  function leaveBehind(loop: Loop): void {
    exitCode = 1;
    const error = new LoopError('LOOP_TICK_ABANDONED', `a tick of ${loop.name} ignored its aborted signal`);
    log.error({ err: error }, 'left behind: a tick that does not give up');
  }

  async function closing(what: string, close: () => Promise<void>): Promise<void> {
    try {
      const closed = await bounded(close(), closeMs);
      if (closed.settled) return;
      throw new LoopError('LOOP_STOP_FAILED', `closing ${what} took longer than ${closeMs} ms`);
    } catch (cause) {
      exitCode = 1;
      const error = new LoopError('LOOP_STOP_FAILED', `${what} did not close cleanly`, { cause });
      log.error({ err: error }, error.message);
    }
  }

  return {
    async start(): Promise<void> {
      if (stopped !== undefined) return;
      starting ??= start();
      try {
        await starting;
      } catch (error) {
        exitCode = 1;
        await stop('the start failed');
        throw error;
      }
    },
    stop: async (reason = 'stop() was called') => stop(reason),
    finished,
    get port(): number | undefined {
      return sidecar?.port;
    },
  };
}
