// What the sidecar's thread logs: one line a stall, one when it is over. Through fs.writeSync, because `console` and
// pino's transports in a thread travel through the main thread, which is the one that is stuck.

import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { errorCode } from './error-code.ts';
import { isLogged, loadPretty, prettyOptions, type LogLevel } from './log-format.ts';
import { captureMainThreadStack } from './main-thread-stack.ts';
import { redactText } from './redact.ts';
import type { SidecarData } from './sidecar-messages.ts';
import type { Verdict } from './verdict.ts';
import { EVENT_LOOP, type WatchListener } from './watch.ts';

/** A main thread that has not beaten for three beats is blocked, whatever the stale times are. */
const BLOCKED_AFTER_MS = 750;
const STACK_WITHIN_MS = 500;

export interface StallLog extends WatchListener {
  /** The loop whose code blocks the main thread, where the stack told. */
  blockedBy(): string | undefined;
}

export function createStallLog(data: SidecarData): StallLog {
  const write = lineWriter(data);
  let blocked = false;
  let blockedBy: string | undefined;
  let episode = 0;

  const reportBlocked = async (names: readonly string[], blockedMs: number): Promise<void> => {
    const of = episode;
    const stack = data.takeStacks ? await captureMainThreadStack(STACK_WITHIN_MS) : undefined;
    if (of === episode) blockedBy = stack?.loop;
    const culprit = stack?.loop === undefined ? '' : ` by the loop ${stack.loop}`;
    const msg = `stuck: the main thread is blocked${culprit}`;
    write('error', msg, {
      stuck: names,
      blockedSeconds: Math.round(blockedMs) / 1_000,
      ...(stack === undefined
        ? { hint: data.takeStacks ? 'no JavaScript stack: it is in native code' : 'a debugger is attached' }
        : {
            err: {
              type: 'MainThread',
              message: 'is here',
              stack: ['is here:', ...stack.frames].join('\n    '),
            },
          }),
    });
  };

  return {
    blockedBy: () => blockedBy,
    stalled(newly: readonly string[], verdict: Verdict): void {
      if (verdict.eventLoop.beatAgeMs > BLOCKED_AFTER_MS || newly.includes(EVENT_LOOP)) {
        // All loops of a blocked thread go stale sooner or later: that is one stall, said once.
        if (blocked) return;
        blocked = true;
        void reportBlocked(newly, verdict.eventLoop.beatAgeMs);
        return;
      }
      for (const loop of verdict.loops.filter(({ name }) => newly.includes(name))) {
        const { name, phase, silentMs } = loop;
        const what =
          phase === 'ticking'
            ? 'its tick has neither ended nor called progress()'
            : 'its rest has not ended in the time that it announced';
        write('error', `stuck: the loop ${name}: ${what}`, {
          stuck: [name],
          phase,
          silentSeconds: Math.round(silentMs) / 1_000,
          hint: 'the main thread is free: the loop waits for something that does not come',
        });
      }
    },
    recovered(names: readonly string[], stalledMs: number): void {
      blocked = false;
      blockedBy = undefined;
      episode += 1;
      write('info', 'turning again', { recovered: names, stalledSeconds: Math.round(stalledMs) / 1_000 });
    },
  };
}

type WriteLine = (level: LogLevel, msg: string, fields: Readonly<Record<string, unknown>>) => void;

/** Lines of the same shape as the main thread's logger writes. */
function lineWriter({ worker, logFormat, logLevel }: SidecarData): WriteLine {
  const format =
    logFormat === 'pretty'
      ? loadPretty().prettyFactory(prettyOptions(isatty(1)))
      : (line: string) => `${line}\n`;
  return (level, msg, fields) => {
    if (!isLogged(level, logLevel)) return;
    const line = JSON.stringify({ level, time: new Date().toISOString(), worker, ...fields, msg });
    writeAll(format(redactText(line)));
  };
}

/** Standard output may be a pipe whose reader is slow; a log line is not worth blocking the sidecar for. */
function writeAll(text: string): void {
  let rest = Buffer.from(text);
  for (let attempts = 0; rest.length > 0 && attempts < 50; attempts += 1) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN') return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
