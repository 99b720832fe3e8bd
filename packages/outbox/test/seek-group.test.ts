import { eventually } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { groupStatus } from '../src/group/group-status.ts';
import { retireGroup } from '../src/group/retire-group.ts';
import { seekGroup } from '../src/group/seek-group.ts';
import type { SeekReport, SeekTarget } from '../src/group/seek-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { freshLog } from './fresh-log.ts';
import { logReader } from './log-reader.ts';
import { runRelay } from './relay-runner.ts';

const group = 'g';
const log = freshLog();
const { writer, commit } = log;

async function seek(target: SeekTarget): Promise<SeekReport> {
  return await seekGroup({ pool: log.database.pool, group, target, holder: 'operator', timeoutMs: 10_000 });
}

/** What the group would deliver from where it stands. */
async function pending(): Promise<string[]> {
  return await logReader(
    log.database.pool,
    (await loadCursor(log.database.pool, { group, lane: 0 }))!.cursor,
  ).drain();
}

test('by position: what stands behind it comes again, and what is open below it comes when it commits', async () => {
  await registerGroup(log.database.pool, group, 'beginning');
  const late = await writer();
  await late.emit('late#1');
  await commit('a#1', 'a#2', 'a#3');
  expect(await seek({ to: 'position', position: 3 })).toEqual({ group, from: [0], position: 3 });
  expect(await pending()).toEqual(['a#3']);
  await late.commit();
  expect(await pending()).toEqual(['late#1', 'a#3']);
});

test('to the beginning and to the end', async () => {
  await registerGroup(log.database.pool, group, 'beginning');
  const late = await writer();
  await late.emit('late#1');
  await commit('a#1');
  expect(await seek({ to: 'end' })).toMatchObject({ position: 2 });
  expect(await pending()).toEqual([]);
  await late.commit();
  expect(await pending()).toEqual(['late#1']);
  expect(await seek({ to: 'beginning' })).toEqual({ group, from: [2], position: 0 });
  expect(await pending()).toEqual(['late#1', 'a#1']);
});

test('by time: everything written at or after it comes, also what was not committed yet', async () => {
  await registerGroup(log.database.pool, group, 'beginning');
  await commit('old#1');
  const late = await writer();
  await log.database.pool.query(`update outbox.event set created_at = created_at - interval '1 hour'`);
  await late.emit('late#1');
  await commit('new#1');
  const time = new Date(Date.now() - 1_800_000);
  expect(await seek({ to: 'time', time })).toMatchObject({ position: 2 });
  expect(await pending()).toEqual(['new#1']);
  await late.commit();
  expect(await pending()).toEqual(['late#1', 'new#1']);
  expect(await seek({ to: 'time', time: new Date(Date.now() + 3_600_000) })).toMatchObject({ position: 3 });
  expect(await pending()).toEqual([]);
});

test('refuses a position that was dropped, one that nobody has, and a group that is not there', async () => {
  await expect(seek({ to: 'end' })).rejects.toMatchObject({ code: 'OUTBOX_GROUP_UNKNOWN' });
  await registerGroup(log.database.pool, group, 'beginning');
  await log.database.pool.query(`select setval('outbox.event_seq', 10000005)`);
  await log.database.pool.query('drop table outbox.event_until_10000000');
  await expect(seek({ to: 'position', position: 7 })).rejects.toMatchObject({
    code: 'OUTBOX_POSITION_INVALID',
    message: 'events behind position 7 were dropped: the log is kept from 10000000 on',
  });
  await expect(seek({ to: 'position', position: 10_000_006 })).rejects.toMatchObject({
    code: 'OUTBOX_POSITION_INVALID',
  });
  expect(await seek({ to: 'beginning' })).toMatchObject({ position: 9_999_999 });
});

test('takes the lane from a worker that reads it, which goes on from the new place', async () => {
  const relay = runRelay({ pool: log.database.pool, group, leaseTtlMs: 600 });
  try {
    await commit('a#1', 'a#2');
    await eventually(() => relay.handled.flat().length === 2);
    await seek({ to: 'position', position: 1 });
    await eventually(() => relay.handled.flat().length === 3);
    expect(relay.handled.flat()).toEqual(['a#1', 'a#2', 'a#2']);
    await expect(retireGroup({ pool: log.database.pool, group, holder: 'operator' })).rejects.toMatchObject({
      code: 'OUTBOX_LANE_BUSY',
    });
  } finally {
    await relay.stop();
  }
});

test('a retired group is gone, and starts anew when a worker brings it back, under a greater token', async () => {
  const first = runRelay({ pool: log.database.pool, group });
  await commit('a#1');
  await eventually(() => first.handled.length === 1);
  await first.stop();
  await retireGroup({ pool: log.database.pool, group, holder: 'operator' });
  expect(await groupStatus(log.database.pool)).toEqual([]);
  expect(await loadCursor(log.database.pool, { group, lane: 0 })).toBeUndefined();
  const again = runRelay({ pool: log.database.pool, group });
  await eventually(() => again.handled.length === 1);
  expect((await loadCursor(log.database.pool, { group, lane: 0 }))?.token).toBe(3);
  await again.stop();
  await expect(retireGroup({ pool: log.database.pool, group: 'none', holder: 'x' })).rejects.toMatchObject({
    code: 'OUTBOX_GROUP_UNKNOWN',
  });
});
