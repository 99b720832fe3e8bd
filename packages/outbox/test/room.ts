import type { Queryable } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import { makeRoom } from '../src/log/partitions.ts';
import type { RoomOutcome } from '../src/log/partitions.ts';

/** `makeRoom` once nobody stands in its way: an autovacuum of the log does, whenever it comes. */
export async function makeRoomOnceFree(db: Queryable, size?: number): Promise<RoomOutcome> {
  let outcome: RoomOutcome = 'busy';
  await eventually(async () => {
    outcome = await makeRoom(db, size);
    return outcome !== 'busy';
  });
  return outcome;
}
