import type { MigrationSet } from '@pulsebox/postgres';

export type { StartFrom } from './consumer-group.ts';
export { registerGroup } from './consumer-group.ts';
export type { Cursor, FrozenPage } from './cursor.ts';
export { beginningOfLog } from './cursor.ts';
export type { DeadCounts } from './dead-counts.ts';
export type { DiscardOptions, DiscardReport } from './dead-discard.ts';
export { discardDead } from './dead-discard.ts';
export type { DeadFilter, ParkedState } from './dead-filter.ts';
export type { DeadId } from './dead-id.ts';
export { parseDeadId } from './dead-id.ts';
export type { DeadListOptions, DeadPage, DeadSummary } from './dead-list.ts';
export { listDead } from './dead-list.ts';
export type { ReplayOptions, ReplayReport } from './dead-replay.ts';
export { replayDead } from './dead-replay.ts';
export type { DeadDetails, DeadError } from './dead-show.ts';
export { showDead } from './dead-show.ts';
export type { DeliveryOrder } from './deliver.ts';
export type { EmitOptions, NewEvent } from './emit.ts';
export { emit, emitAll } from './emit.ts';
export { endOfLog } from './end-of-log.ts';
export type { JsonValue, OutboxEvent } from './event.ts';
export type { GroupStatus } from './group-status.ts';
export { groupStatus } from './group-status.ts';
export type { Batch, BatchOutcome, EventFailure, Handler, HandlerContext } from './handler.ts';
export type { HousekeepingOptions } from './housekeeping.ts';
export { housekeeping } from './housekeeping.ts';
export { notifyChannel, setNotifyChannel } from './notify-channel.ts';
export type { OutboxErrorCode } from './outbox-error.ts';
export { OutboxError, outboxErrorCodes } from './outbox-error.ts';
export type { OutboxMetrics } from './outbox-metrics.ts';
export { outboxMetrics } from './outbox-metrics.ts';
export type { ReadBatch } from './read-batch.ts';
export { readBatch } from './read-batch.ts';
export type { RelayOptions } from './relay.ts';
export { relay } from './relay.ts';
export type { SinkErrorKind, SinkErrorOptions } from './sink-error.ts';
export { SinkError } from './sink-error.ts';
export type { ResizeOptions, ResizeProgress, ResizeReport } from './resize-group.ts';
export { MOST_LANES, resizeGroup } from './resize-group.ts';
export type { RetireOptions } from './retire-group.ts';
export { retireGroup } from './retire-group.ts';
export type { SeekOptions, SeekReport, SeekTarget } from './seek-group.ts';
export { seekGroup } from './seek-group.ts';
export type { LaneOfGroup } from './store-cursor.ts';
export { laneLeaseName } from './store-cursor.ts';
export type { TakeLaneOptions } from './take-lane.ts';
export { takeLane, withAllLanes } from './take-lane.ts';
export type { Waker, WakerOptions } from './waker.ts';
export { createWaker } from './waker.ts';

/** The log's schema. Needs the tables of `@pulsebox/postgres` before it. */
export const outboxMigrations: MigrationSet = {
  name: 'outbox',
  directory: new URL('../migrations/', import.meta.url),
};
