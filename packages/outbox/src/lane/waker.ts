// Ends a reader's rest early: when producers notify, or when anything else in the process knows of work.

import { listen } from '@pulsebox/postgres';
import type { ListenState } from '@pulsebox/postgres';
import type { Logger } from '@pulsebox/loop';
import type { ClientConfig } from 'pg';
import { groupOfNotice } from '../lease/lane-notice.ts';
import { notifyChannel } from '../log/notify-channel.ts';

export interface Waker {
  /** Whether notifications arrive at present. Without them readers poll, and find everything all the same. */
  readonly state: ListenState | 'off';
  /**
   * Rests until `ms` have passed, the signal aborts, or a wake-up. One that came since the last rest of the same
   * `rester` (default: the signal) ended it before it began: loops that share a signal must not take each other's.
   */
  rest(ms: number, signal: AbortSignal, rester?: object): Promise<void>;
  wake(): void;
  /** Calls the listener when lanes of the group have moved, or may have. Returns how to stop that. */
  onLanes(group: string, listener: () => void): () => void;
  close(): Promise<void>;
}

export interface WakerOptions {
  /** A direct connection for LISTEN; undefined: no notifications. */
  readonly connection: ClientConfig | undefined;
  readonly log: Logger;
}

/** One for all the relays of a process: a notification says that there are events, not whose. */
export function createWaker(options: WakerOptions): Waker {
  const resting = new Set<() => void>();
  // `wakes` grows with every wake-up; a rest ends when it has grown since the rester's previous one ended.
  const seen = new WeakMap<object, number>();
  let wakes = 0;
  /** Each try to connect that fails reports it again. */
  let saidLost = false;
  const laneListeners = new Set<{ readonly group: string; readonly call: () => void }>();

  function wake(): void {
    wakes += 1;
    for (const end of resting) end();
  }

  const listener =
    options.connection === undefined
      ? undefined
      : listen({
          connection: options.connection,
          channel: notifyChannel,
          onNotification: (payload) => {
            const group = groupOfNotice(payload ?? '');
            for (const listener of laneListeners)
              if (payload === undefined || listener.group === group) listener.call();
            wake();
          },
          onState: (state, error) => {
            const again = state === 'lost' && saidLost;
            saidLost = state === 'lost';
            if (state === 'listening') options.log.debug('listening for events');
            else if (again) options.log.debug({ err: error }, 'the LISTEN connection could not be made');
            else options.log.warn({ err: error }, 'the LISTEN connection is lost; polling until it is back');
          },
        });

  return {
    get state(): ListenState | 'off' {
      return listener?.state ?? 'off';
    },
    wake,
    onLanes(group, call): () => void {
      const listener = { group, call };
      laneListeners.add(listener);
      return () => laneListeners.delete(listener);
    },
    async rest(ms, signal, rester = signal): Promise<void> {
      if (signal.aborted || (seen.get(rester) ?? 0) !== wakes) {
        seen.set(rester, wakes);
        return;
      }
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          resting.delete(end);
          signal.removeEventListener('abort', end);
          seen.set(rester, wakes);
          resolve();
        };
        const timer = setTimeout(end, ms);
        resting.add(end);
        signal.addEventListener('abort', end, { once: true });
      });
    },
    async close(): Promise<void> {
      await listener?.close();
    },
  };
}
