// The handler of the group `runtimes`: writes down what events wish. The cluster may be away meanwhile.

import { traceOf } from '@pulsebox/outbox';
import type { BatchOutcome, EventFailure, Handler, OutboxEvent } from '@pulsebox/outbox';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { commandOf } from './runtime-command.ts';
import type { RuntimeCommand } from './runtime-command.ts';
import { STATEMENT_MS } from './round.ts';
import { heed } from './wishes.ts';

export interface RuntimesHandlerOptions {
  readonly pool: Pool;
  /** Called when something new is wished: the reconciler need not wait for its next look. */
  readonly onWish?: () => void;
}

/**
 * Handles the topics of `runtimeTopics`; events of other topics are none of ours. Key a user's events by `runtimeKey`, and
 * run it with `order: 'none'`: an event that failed and is tried again later is known by its position to be out of date.
 */
export function runtimesHandler({ pool, onWish }: RuntimesHandlerOptions): Handler {
  return async ({ events }, { signal, progress }): Promise<BatchOutcome> => {
    const failed: EventFailure[] = [];
    const commands: { readonly event: OutboxEvent; readonly command: RuntimeCommand }[] = [];
    for (const event of events) {
      const parsed = commandOf(event);
      if (parsed === undefined) continue;
      if (parsed.understood) commands.push({ event, command: parsed.command });
      else failed.push({ position: event.position, reason: parsed.reason, retryable: false });
    }
    if (commands.length === 0) return { failed };
    signal.throwIfAborted();
    // Below the stale time, so that a database that answers nothing is said to be away.
    const bounds = { statementMs: STATEMENT_MS, signal, onWaiting: () => progress() };
    await boundedTransaction(pool, bounds, async (client) => {
      for (const { event, command } of commands) {
        const answer = await heed(client, command, traceOf(event));
        if (!answer.heeded)
          failed.push({ position: event.position, reason: answer.reason, retryable: false });
        progress();
      }
    });
    onWish?.();
    return { failed };
  };
}
