// A real Chromium, where there is one on the machine, driven over the DevTools protocol.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { eventually } from '@pulsebox/test-support';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Undefined: there is none. Nothing of the project needs one but the tests that say so. */
export const chromium: string | undefined = (process.env['PATH'] ?? '')
  .split(delimiter)
  .flatMap((folder) => NAMES.map((name) => join(folder, name)))
  .find((file) => existsSync(file));

type Fields = Record<string, unknown>;

/** A page, or a service worker, that commands go to. */
export interface Target {
  send(method: string, params?: Fields): Promise<Fields>;
  /** Runs an expression, awaits what it promises, and returns that as JSON has it. */
  evaluate(expression: string): Promise<unknown>;
  /** Resolves with the first event of the name, from now on, that the condition holds for. */
  next(method: string, holds: (params: Fields) => boolean): Promise<Fields>;
}

export interface Browser {
  open(url: string): Promise<Target>;
  /** The service worker that runs at this address. */
  worker(url: string): Promise<Target>;
  /** Lets pages of the origin show notifications, as a user who has said yes. */
  allowNotifications(origin: string): Promise<void>;
  close(): Promise<void>;
}

interface Answer {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Fields;
  readonly result?: Fields;
  readonly error?: { readonly message: string };
}

export async function startChromium(executable: string): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'pulsebox-chromium-'));
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
  ];
  const child = spawn(
    executable,
    [...flags, '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
    // A group of its own, so that its many processes end together.
    { detached: true, stdio: 'ignore' },
  );
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const portFile = join(profile, 'DevToolsActivePort');
  await eventually(() => existsSync(portFile) && readFileSync(portFile, 'utf8').includes('\n'), {
    message: `${executable} did not start`,
  });
  const [port, path] = readFileSync(portFile, 'utf8').trim().split('\n');
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', reject, { once: true });
  });

  const waiting = new Map<number, (answer: Answer) => void>();
  const listeners = new Set<(answer: Answer) => void>();
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer;
    if (answer.id === undefined) for (const listener of listeners) listener(answer);
    else waiting.get(answer.id)?.(answer);
  });

  async function send(method: string, params: Fields = {}, sessionId?: string): Promise<Fields> {
    last += 1;
    const id = last;
    const answered = new Promise<Answer>((resolve) => {
      waiting.set(id, resolve);
    });
    socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    const { result, error } = await answered;
    waiting.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  async function attach(targetId: unknown): Promise<Target> {
    const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
    const session = String(sessionId);
    return {
      send: (method, params) => send(method, params, session),
      async evaluate(expression): Promise<unknown> {
        const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
        const { result, exceptionDetails } = await send('Runtime.evaluate', options, session);
        if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
        return (result as { value?: unknown }).value;
      },
      next: (method, holds) =>
        new Promise((resolve) => {
          const listener = (answer: Answer): void => {
            const { params = {} } = answer;
            if (answer.sessionId !== session || answer.method !== method || !holds(params)) return;
            listeners.delete(listener);
            resolve(params);
          };
          listeners.add(listener);
        }),
    };
  }

  return {
    async open(url): Promise<Target> {
      const { targetId } = await send('Target.createTarget', { url });
      return await attach(targetId);
    },
    async worker(url): Promise<Target> {
      let found: Fields | undefined;
      await eventually(async () => {
        const { targetInfos } = await send('Target.getTargets');
        found = (targetInfos as Fields[]).find(
          (info) => info['type'] === 'service_worker' && info['url'] === url,
        );
        return found !== undefined;
      });
      return await attach(found?.['targetId']);
    },
    async allowNotifications(origin): Promise<void> {
      await send('Browser.grantPermissions', { origin, permissions: ['notifications'] });
    },
    async close(): Promise<void> {
      socket.close();
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      await exited;
      await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}
