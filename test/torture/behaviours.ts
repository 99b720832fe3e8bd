// How writers behave, good and bad: each of these is a way in which an event can become visible later than others
// that were numbered after it.

import { randomUUID } from 'node:crypto';
import type { Pause } from './pause.ts';
import { SHARED_KEYS } from './schema.ts';
import { happen, happenInBulk, happenOften, lockKeys } from './witnessed.ts';
import type { Witnessed } from './witnessed.ts';

export interface Turn extends Witnessed {
  readonly pause: Pause;
  /** Commits before the work is over. */
  commitNow(): Promise<void>;
  /** Opens a transaction of its own beside this one. */
  alongside(work: (turn: Turn) => Promise<void>): Promise<void>;
  /** Ends it by PREPARE TRANSACTION and, a while later, by the decision about it. */
  prepare(gid: string): Promise<void>;
  savepointRolledBack(): void;
}

export type BehaviourName =
  | 'lock, emit, commit'
  | 'xid early, emit late'
  | 'emit early, commit late'
  | 'held open'
  | 'overtaken above xmax'
  | 'savepoints'
  | 'many savepoints'
  | 'many of one key'
  | 'prepared'
  | 'large';

export interface Behaviour {
  readonly name: BehaviourName;
  /** How often, relative to the others. */
  readonly weight: number;
  /** What happens between BEGIN and COMMIT. */
  readonly work: (turn: Turn) => Promise<void>;
}

export const behaviours: readonly Behaviour[] = [
  {
    name: 'lock, emit, commit',
    weight: 8,
    work: async (turn) => {
      await emitUnderLock(turn, keys(turn, 3));
    },
  },
  {
    // Its xid is lower than those of transactions whose events, and whose locks, come before its own.
    name: 'xid early, emit late',
    weight: 6,
    work: async (turn) => {
      await turn.client.query('select pg_current_xact_id()');
      await turn.pause(turn.random.integer(5, 120));
      await emitUnderLock(turn, keys(turn, 2));
    },
  },
  {
    // Its events are numbered long before they can be seen.
    name: 'emit early, commit late',
    weight: 7,
    work: async (turn) => {
      await emitUnderLock(turn, keys(turn, 2));
      await turn.pause(turn.random.integer(5, 80));
    },
  },
  {
    name: 'held open',
    weight: 0.2,
    work: async (turn) => {
      // Without a key: nobody has to wait for its locks.
      await happen(turn, null);
      await turn.pause(turn.random.integer(500, 4_000));
      await happen(turn, null);
    },
  },
  {
    // The trap of a snapshot's xmax: the open transaction has a higher xid than any that is completed, so it is in no
    // list of open ones, and the position has passed its event.
    name: 'overtaken above xmax',
    weight: 4,
    work: async (turn) => {
      await turn.client.query('select pg_current_xact_id()');
      await turn.alongside(async (slower) => {
        await happen(slower, null);
        await happen(turn, null);
        await turn.commitNow();
        await slower.pause(turn.random.integer(10, 60));
      });
    },
  },
  {
    name: 'savepoints',
    weight: 3,
    work: async (turn) => {
      const locked = keys(turn, 3);
      await lockKeys(turn, locked);
      for (const key of locked) {
        await turn.client.query('savepoint attempt');
        await happen(turn, key);
        if (turn.random.chance(0.4)) {
          await turn.client.query('rollback to savepoint attempt');
          turn.savepointRolledBack();
        } else {
          await turn.client.query('release savepoint attempt');
        }
        await happen(turn, key);
      }
    },
  },
  {
    // More than 64 open subtransactions do not fit into a snapshot: it is marked as overflowed.
    name: 'many savepoints',
    weight: 0.1,
    work: async (turn) => {
      for (let nested = 0; nested < 70; nested += 1) {
        await turn.client.query(`savepoint nested_${nested}`);
        await happen(turn, null);
      }
      await turn.client.query('rollback to savepoint nested_35');
      turn.savepointRolledBack();
    },
  },
  {
    name: 'many of one key',
    weight: 0.3,
    work: async (turn) => {
      const [key] = keys(turn, 1);
      await lockKeys(turn, [key]);
      await happenOften(turn, key, turn.random.integer(50, 200));
    },
  },
  {
    // Open on the server while no session is in it. Whoever prepared it may die before deciding.
    name: 'prepared',
    weight: 0.6,
    work: async (turn) => {
      // Without a key: an orphan's locks would stop whoever wants them until the end of the run.
      await happen(turn, null);
      await turn.prepare(`torture-${randomUUID()}`);
    },
  },
];

/** Not drawn like the others: a run has one that commits, and one before it that does not. */
export function large(events: number): Behaviour {
  return {
    name: 'large',
    weight: 0,
    work: async (turn) => {
      await happenInBulk(turn, events);
      // Meanwhile the position passes all of them: they are late, and many more than fit into a batch.
      await turn.pause(1_000);
    },
  };
}

async function emitUnderLock(turn: Turn, locked: readonly string[]): Promise<void> {
  await lockKeys(turn, locked);
  for (const key of locked) {
    for (let times = turn.random.integer(1, 2); times > 0; times -= 1) await happen(turn, key);
  }
  if (turn.random.chance(0.2)) await happen(turn, null);
}

/** One to `most` keys, the first few of them far more often than the rest. */
function keys({ random }: Turn, most: number): [string, ...string[]] {
  const draw = (): string =>
    `key:${random.chance(0.5) ? random.integer(1, 4) : random.integer(1, SHARED_KEYS)}`;
  const drawn = new Set(Array.from({ length: random.integer(0, most - 1) }, draw));
  const first = draw();
  drawn.delete(first);
  return [first, ...drawn];
}
