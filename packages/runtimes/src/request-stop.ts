// Stops a user's runtime on behalf of a person: by the same event as the application, so that order holds between both.

import { emit } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { showRuntime } from './list-runtimes.ts';
import { runtimeKey, runtimeTopics } from './runtime-command.ts';

/** Held until the transaction ends, so that events of a user are emitted one after the other. $1 user. Index: the key. */
const LOCK_RUNTIME = `select from app.agent_runtimes where user_id = $1 for update`;

/** Result: the position of the event. The worker does it within seconds. @throws RUNTIMES_USER_UNKNOWN */
export async function requestStop(pool: Pool, userId: string): Promise<number> {
  return await transaction(pool, async (client) => {
    await client.query(LOCK_RUNTIME, [userId]);
    const { organisation } = await showRuntime(client, userId);
    return await emit(client, {
      topic: runtimeTopics.stop,
      key: runtimeKey(userId),
      payload: { user_id: userId, org_id: organisation },
    });
  });
}
