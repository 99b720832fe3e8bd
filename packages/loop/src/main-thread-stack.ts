// Where is the main thread? Asked from another thread, through the inspector, while the main thread is blocked.

import type { Debugger, Session } from 'node:inspector';

export interface MainThreadStack {
  /** One line a frame, innermost first, as in an error's stack. */
  readonly frames: readonly string[];
  /** The loop whose tick is running, where one is. */
  readonly loop: string | undefined;
}

const MOST_FRAMES = 25;
/** Evaluated on the paused main thread; turn.ts puts the function there. */
const TURNING_LOOP = `globalThis[Symbol.for('pulsebox.turning-loop')]?.()`;

/**
 * Pauses the main thread for about a millisecond and lets it go on. undefined when it did not pause within
 * `withinMs`: it is in native code (or in no code at all), where there is no JavaScript stack to see. Never rejects.
 */
export async function captureMainThreadStack(withinMs: number): Promise<MainThreadStack | undefined> {
  let session: Session;
  try {
    const inspector = await import('node:inspector');
    session = new inspector.Session();
    session.connectToMainThread();
  } catch {
    return undefined; // A Node.js without the inspector, or a process that has just been taken by a debugger.
  }

  const scripts = new Map<string, string>();
  return new Promise((resolve) => {
    let over = false;
    // However it ends, the pause is lifted and the session is gone: else the process would wait for a debugger at
    // its exit. Requests are handled in order, also by a main thread that returns from native code much later.
    const finish = (stack: MainThreadStack | undefined): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      try {
        session.post('Debugger.resume', () => undefined);
        session.post('Debugger.disable', () => undefined);
        session.disconnect();
      } catch {
        // The session has ended already.
      }
      resolve(stack);
    };
    const timer = setTimeout(finish, withinMs, undefined);

    session.on('Debugger.scriptParsed', ({ params }) => {
      scripts.set(params.scriptId, params.url);
    });
    session.on('Debugger.paused', ({ params }) => {
      if (over) return;
      const frames = params.callFrames.slice(0, MOST_FRAMES).map((frame) => describeFrame(frame, scripts));
      const [innermost] = params.callFrames;
      if (innermost === undefined) {
        finish(undefined);
        return;
      }
      session.post(
        'Debugger.evaluateOnCallFrame',
        { callFrameId: innermost.callFrameId, expression: TURNING_LOOP, returnByValue: true, silent: true },
        (error, answer) => {
          const loop: unknown = error === null ? answer.result.value : undefined;
          finish({ frames, loop: typeof loop === 'string' ? loop : undefined });
        },
      );
    });
    session.post('Debugger.enable', () => undefined);
    session.post('Debugger.pause', () => undefined);
  });
}

function describeFrame(frame: Debugger.CallFrame, scripts: ReadonlyMap<string, string>): string {
  const { scriptId, lineNumber, columnNumber = 0 } = frame.location;
  const url = frame.url !== '' ? frame.url : (scripts.get(scriptId) ?? '<unknown>');
  return `at ${frame.functionName || '<anonymous>'} (${url}:${lineNumber + 1}:${columnNumber + 1})`;
}
