// An application: a row and its event in one transaction. npx node examples/place-order.ts Anna 42.50

import { emit } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import type { ClientBase } from 'pg';
import { openDatabase } from './database.ts';
import type { ShopEvents } from './shop-events.ts';

const [customer = 'Anna', total = '42.50'] = process.argv.slice(2);
const pool = openDatabase();
await pool.query(
  `create table if not exists public.orders (
     order_id bigint generated always as identity primary key, customer text not null, total numeric not null)`,
);

await transaction(pool, async (client) => {
  // First the row: it is locked by being written. Then the event.
  const { rows } = await client.query<{ order_id: string }>(
    'insert into public.orders (customer, total) values ($1, $2) returning order_id',
    [customer, total],
  );
  const orderId = Number(rows[0]?.order_id);
  const position = await emitOf(client, orderId, 'order.placed', {
    order_id: orderId,
    customer,
    total: Number(total),
  });
  console.log(`order ${orderId}: its event is at position ${position}`);
});
await pool.end();

/** The compiler knows what a topic's payload has to be. */
async function emitOf<Topic extends keyof ShopEvents>(
  client: ClientBase,
  orderId: number,
  topic: Topic,
  payload: ShopEvents[Topic],
): Promise<number> {
  return await emit(client, { topic, key: `order:${orderId}`, payload });
}
