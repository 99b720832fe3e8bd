// Which events there are, and what is in them, in one place for those who emit and those who consume.

import type { OutboxEvent } from '@pulsebox/outbox';

export type ShopEvents = {
  'order.placed': { order_id: number; customer: string; total: number };
  'order.cancelled': { order_id: number };
};

/** One of them as a handler gets it: `event.topic` tells which payload it has. */
export type ShopEvent = {
  [Topic in keyof ShopEvents]: OutboxEvent<ShopEvents[Topic]> & { readonly topic: Topic };
}[keyof ShopEvents];
