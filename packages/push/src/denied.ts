// The alarm for push services that do not accept who we say we are. No subscription is removed for it: the fault is in
// our configuration, and all of them are well.

import type { LoopCheck } from '@pulsebox/loop';
import { serviceOf } from './service.ts';
import type { Service } from './service.ts';

export interface DeniedAlarm {
  denied(origin: string): void;
  /** The service took a message: it knows us. */
  accepted(origin: string): void;
  check(): LoopCheck;
}

/** Endpoints come from strangers: whoever makes up origins must not fill the memory. */
const MOST_ORIGINS = 100;

/** @param onChange how many origins of the service deny us now */
export function createDeniedAlarm(
  onChange: (service: Service, origins: number) => void = () => undefined,
): DeniedAlarm {
  const since = new Map<string, string>();

  function changed(origin: string): void {
    const service = serviceOf(origin);
    onChange(service, [...since.keys()].filter((known) => serviceOf(known) === service).length);
  }

  return {
    denied(origin): void {
      if (since.has(origin) || since.size >= MOST_ORIGINS) return;
      since.set(origin, new Date().toISOString());
      changed(origin);
    },
    accepted(origin): void {
      if (since.delete(origin)) changed(origin);
    },
    check(): LoopCheck {
      const [first] = since;
      if (first === undefined) return { status: 'ok' };
      const [origin, when] = first;
      const others = since.size > 1 ? ` and ${since.size - 1} more` : '';
      return {
        status: 'degraded',
        detail: `${origin}${others} refuses our VAPID token since ${when}: check the VAPID_ variables and the clock`,
      };
    },
  };
}
