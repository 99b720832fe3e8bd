import type { MigrationSet } from '@pulsebox/postgres';

export { boundedQueries } from './bounded-queries.ts';
export type { StartFrom } from './group/consumer-group.ts';
export { registerGroup } from './group/consumer-group.ts';
export type { Cursor, FrozenPage } from './read/cursor.ts';
export { beginningOfLog } from './read/cursor.ts';
export type { DeadCounts } from './dead/dead-counts.ts';
export type { DiscardOptions, DiscardReport } from './dead/dead-discard.ts';
export { discardDead } from './dead/dead-discard.ts';
export type { DeadFilter, ParkedState } from './dead/dead-filter.ts';
export type { DeadId } from './dead/dead-id.ts';
export { parseDeadId } from './dead/dead-id.ts';
export type { DeadListOptions, DeadPage, DeadSummary } from './dead/dead-list.ts';
export { listDead } from './dead/dead-list.ts';
export type { MarkDeadOptions, MarkDeadOutcome } from './dead/dead-mark.ts';
export { markDead } from './dead/dead-mark.ts';
export type { ReplayOptions, ReplayReport } from './dead/dead-replay.ts';
export { replayDead } from './dead/dead-replay.ts';
export type { DeadDetails, DeadError } from './dead/dead-show.ts';
export { showDead } from './dead/dead-show.ts';
export type { DeliveryOrder } from './deliver/deliver.ts';
export type { EmitOptions, NewEvent } from './log/emit.ts';
export { emit, emitAll } from './log/emit.ts';
export { endOfLog } from './read/end-of-log.ts';
export type { JsonValue, OutboxEvent } from './log/event.ts';
export type { GroupStatus, LanePause } from './group/group-status.ts';
export { groupStatus } from './group/group-status.ts';
export type { Batch, BatchOutcome, EventFailure, Handler, HandlerContext } from './deliver/handler.ts';
export type { TracedWork } from './deliver/process-span.ts';
export { inProcessSpan } from './deliver/process-span.ts';
export type { RetentionOptions, RetentionOutcome } from './upkeep/retention.ts';
export { dropOldestPartition } from './upkeep/retention.ts';
export type { HousekeepingOptions } from './upkeep/housekeeping.ts';
export { housekeeping } from './upkeep/housekeeping.ts';
export { notifyChannel, setNotifyChannel } from './log/notify-channel.ts';
export { traceHeaders, traceOf } from './log/trace-headers.ts';
export type { OutboxErrorCode } from './outbox-error.ts';
export { OutboxError, outboxErrorCodes } from './outbox-error.ts';
export type { OutboxMetrics } from './outbox-metrics.ts';
export { outboxMetrics } from './outbox-metrics.ts';
export type { BatchLimit, ReadBatch } from './read/batch.ts';
export { readBatch } from './read/read-batch.ts';
export type { RelayOptions } from './relay.ts';
export { relay } from './relay.ts';
export type { SinkErrorKind, SinkErrorOptions } from './deliver/sink-error.ts';
export { SinkError } from './deliver/sink-error.ts';
export type { ResizeOptions, ResizeProgress, ResizeReport } from './group/resize-group.ts';
export { MOST_LANES, resizeGroup } from './group/resize-group.ts';
export type { RetireOptions } from './group/retire-group.ts';
export { retireGroup } from './group/retire-group.ts';
export type { SeekOptions, SeekReport, SeekTarget } from './group/seek-group.ts';
export { seekGroup } from './group/seek-group.ts';
export type { LaneOfGroup } from './lease/lane-of-group.ts';
export { laneLeaseName } from './lease/lane-of-group.ts';
export type { TakeLaneOptions } from './lease/take-lane.ts';
export { takeLane, withAllLanes } from './lease/take-lane.ts';
export type { Waker, WakerOptions } from './lane/waker.ts';
export { createWaker } from './lane/waker.ts';

/** The log's schema. Needs the tables of `@pulsebox/postgres` before it. */
export const outboxMigrations: MigrationSet = {
  name: 'outbox',
  directory: new URL('../migrations/', import.meta.url),
};
