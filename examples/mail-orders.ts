// A consumer group of one's own: a whole worker. npx node examples/mail-orders.ts --loop

import { env, runWorkerCommand } from '@pulsebox/loop';
import {
  createWaker,
  housekeeping,
  outboxMetrics,
  outboxMigrations,
  relay,
  SinkError,
} from '@pulsebox/outbox';
import { assertMigrated, createPool, postgresMigrations } from '@pulsebox/postgres';
import type { ShopEvent } from './shop-events.ts';

await runWorkerCommand(
  {
    name: 'mail-orders',
    description: 'Writes to whoever has placed an order.',
    version: '1.0.0',
    healthPort: { variable: 'MAIL_ORDERS_HEALTH_PORT', default: 9099 },
    environment: {
      DATABASE_URL: env.string({ description: 'Where the log is.' }),
      MAIL_BATCH_SIZE: env.integer({ description: 'The most events at once.', default: 100, min: 1 }),
    },
    flagVariables: { 'batch-size': 'MAIL_BATCH_SIZE' },
    async compose({ config, log, registry }) {
      const connection = { connectionString: config.DATABASE_URL };
      await assertMigrated(connection, [postgresMigrations, outboxMigrations]);
      const pool = createPool({ connection, onIdleError: (err) => log.warn({ err }, 'a connection broke') });
      const waker = createWaker({ connection, log });
      const holder = `mail-orders/${process.pid}`;
      const metrics = outboxMetrics(registry);
      const group = relay({
        pool,
        waker,
        holder,
        metrics,
        group: 'mail-orders',
        // Of a log with a year of orders in it, nobody wants mail of the old ones.
        startFrom: 'end',
        batchSize: config.MAIL_BATCH_SIZE,
        async handler({ events }, { signal }) {
          for (const event of events as readonly ShopEvent[]) {
            signal.throwIfAborted();
            // Every group gets every event: pass over what is not yours.
            if (event.topic === 'order.placed') await sendMail(event.payload.customer, event.position);
          }
        },
      });
      return {
        loops: [group, housekeeping({ pool, holder, metrics })],
        async close() {
          await waker.close();
          await pool.end();
        },
      };

      async function sendMail(customer: string, position: number): Promise<void> {
        if (customer === 'nobody') throw new Error('no address'); // this event is bad: it alone is set aside
        if (customer === 'away')
          throw new SinkError('away', 'MAIL_AWAY', 'the mail server is away', { hint: 'start it' }); // all wait
        // It may be asked to again, after a crash: give the mail server something to know it by.
        log.info({ customer, messageId: `<order-${position}@shop.example>` }, 'mail sent');
      }
    },
  },
  { argv: process.argv.slice(2), env: process.env },
);
