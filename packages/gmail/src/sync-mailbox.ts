// Brings one mailbox up to date: by its history where Google still has it, by reading all of it where not.

import { beginFullSync, syncFully } from './full-sync.ts';
import { isGmailError } from './gmail-error.ts';
import { syncHistory } from './history-sync.ts';
import type { MailboxRow } from './mailbox-row.ts';
import type { SliceOutcome, SyncSlice } from './sync-slice.ts';

export type SyncKind = 'history' | 'full';
export const syncOutcomes = ['done', 'continued', 'failed', 'revoked'] as const;

/** What one or more events ask of a mailbox. */
export interface SyncRequest {
  /** The newest id that was told of. Undefined: none was told, so look. */
  readonly historyId: bigint | undefined;
  /** Whether an event asks to look without telling an id. */
  readonly look: boolean;
  /** Numbers of continuations. */
  readonly continuations: readonly bigint[];
}

/** Whether there is anything to do at all: what was told is read already, and a continuation is out of date. */
export function isNeeded(row: MailboxRow, request: SyncRequest): boolean {
  if (request.look || request.continuations.includes(row.continuation)) return true;
  if (request.historyId === undefined) return false;
  return row.historyId === null || row.fullSync.base !== null || request.historyId > row.historyId;
}

/** @throws GmailError; the signal's reason */
export async function syncMailbox(slice: SyncSlice): Promise<SliceOutcome> {
  const { base, number, page } = slice.row.fullSync;
  let { historyId } = slice.row;
  if (base !== null) {
    const outcome = await counted(slice, 'full', () => syncFully(slice, { base, number, page }));
    if (outcome === 'continued') return outcome;
    historyId = base;
  }
  if (historyId !== null) {
    const from = historyId;
    const outcome = await counted(slice, 'history', () => syncHistory(slice, from));
    if (outcome !== 'gone') return outcome;
    slice.log.info(
      { connection: slice.row.connectionId },
      'Gmail has no history any more: reading all of the mailbox',
    );
  }
  const begun = await beginFullSync(slice);
  const outcome = await counted(slice, 'full', () => syncFully(slice, begun));
  if (outcome === 'continued') return outcome;
  const rest = await counted(slice, 'history', () => syncHistory(inSync(slice, begun.number), begun.base));
  // Unheard of so soon after the base was taken; the next event finds it, and begins anew.
  return rest === 'gone' ? 'done' : rest;
}

function inSync(slice: SyncSlice, number: number): SyncSlice {
  return { ...slice, row: { ...slice.row, fullSync: { ...slice.row.fullSync, number } } };
}

async function counted<T extends SliceOutcome | 'gone'>(
  { metrics }: SyncSlice,
  kind: SyncKind,
  work: () => Promise<T>,
): Promise<T> {
  try {
    const outcome = await work();
    metrics?.syncs.inc({ kind, outcome: outcome === 'continued' ? 'continued' : 'done' });
    return outcome;
  } catch (error) {
    metrics?.syncs.inc({ kind, outcome: isGmailError(error, 'GMAIL_GRANT_REVOKED') ? 'revoked' : 'failed' });
    throw error;
  }
}
