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

/** Endpoints come from strangers: whoever makes up origins must fill neither the memory nor the places of others. */
const MOST_STRANGERS = 100;

/** @param onChange which origin began or ceased to deny us, and how many origins of its service do so now */
export function createDeniedAlarm(
  onChange: (service: Service, origins: number, origin: string, denies: boolean) => void = () => undefined,
): DeniedAlarm {
  const since = new Map<string, string>();

  function changed(origin: string): void {
    const service = serviceOf(origin);
    const origins = [...since.keys()].filter((known) => serviceOf(known) === service).length;
    onChange(service, origins, origin, since.has(origin));
  }

  return {
    denied(origin): void {
      if (since.has(origin)) return;
      const strangers = [...since.keys()].filter(isStranger);
      if (isStranger(origin) && strangers.length >= MOST_STRANGERS) return;
      since.set(origin, new Date().toISOString());
      changed(origin);
    },
    accepted(origin): void {
      if (since.delete(origin)) changed(origin);
    },
    check(): LoopCheck {
      // A service that carries the world's browsers says more than one that a stranger may have made up.
      const first = [...since].find(([origin]) => !isStranger(origin)) ?? [...since][0];
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

function isStranger(origin: string): boolean {
  return serviceOf(origin) === 'other';
}
