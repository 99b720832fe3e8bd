// The task queue of the stand-in for Meilisearch: one task after the other, each a moment after it was taken.

import type { StandInFault } from './meilisearch-index.ts';

export interface StandInTask {
  readonly uid: number;
  readonly indexUid: string | null;
  readonly type: string;
  status: 'enqueued' | 'processing' | 'succeeded' | 'failed' | 'canceled';
  error: ErrorBody | null;
  readonly enqueuedAt: string;
}

export interface ErrorBody extends StandInFault {
  readonly link: string;
}

export type TaskFault =
  | { readonly kind: 'failing task'; readonly error: StandInFault }
  /** Somebody cancels it. */
  | { readonly kind: 'cancelled task' };

export interface NewTask {
  readonly type: string;
  readonly indexUid: string | null;
  /** What it does when its turn has come. */
  readonly work: () => StandInFault | undefined;
  readonly fault: TaskFault | undefined;
}

export interface TaskQueue {
  readonly tasks: readonly StandInTask[];
  /** Returns what Meilisearch answers to whoever brought the task. */
  add(task: NewTask): unknown;
  pause(): void;
  resume(): void;
  stop(): void;
}

export function taskQueue(taskMs: number): TaskQueue {
  const tasks: StandInTask[] = [];
  const waiting: (NewTask & { readonly task: StandInTask })[] = [];
  let paused = false;
  let timer: NodeJS.Timeout | undefined;

  function next(): void {
    if (timer !== undefined || paused) return;
    const first = waiting.shift();
    if (first === undefined) return;
    first.task.status = 'processing';
    timer = setTimeout(() => {
      timer = undefined;
      finish(first.task, first);
      next();
    }, taskMs);
  }

  function resume(): void {
    paused = false;
    next();
  }

  return {
    tasks,
    add(added): unknown {
      const { type, indexUid } = added;
      const enqueuedAt = new Date().toISOString();
      const task: StandInTask = {
        uid: tasks.length,
        indexUid,
        type,
        status: 'enqueued',
        error: null,
        enqueuedAt,
      };
      tasks.push(task);
      waiting.push({ ...added, task });
      next();
      return { taskUid: task.uid, indexUid, status: 'enqueued', type, enqueuedAt };
    },
    pause(): void {
      paused = true;
    },
    resume,
    stop(): void {
      paused = true;
      clearTimeout(timer);
    },
  };
}

function finish(task: StandInTask, { work, fault }: NewTask): void {
  if (fault?.kind === 'cancelled task') {
    task.status = 'canceled';
    return;
  }
  const error = fault?.kind === 'failing task' ? fault.error : work();
  task.status = error === undefined ? 'succeeded' : 'failed';
  task.error = error === undefined ? null : asError(error);
}

export function asError(fault: StandInFault): ErrorBody {
  return { ...fault, link: `https://docs.meilisearch.com/errors#${fault.code}` };
}
