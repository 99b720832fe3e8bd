// The flags by which the commands of `pulsebox dead` know which events are meant.

import type { Command } from 'commander';
import { parseDeadId } from '@pulsebox/outbox';
import type { DeadFilter, ParkedState } from '@pulsebox/outbox';
import { Option } from 'commander';
import { CliError } from './cli-error.ts';
import { all, timeSpan } from './flag-values.ts';

export interface FilterFlags {
  readonly group?: string;
  readonly topic?: string;
  readonly key?: string;
  readonly olderThan?: number;
  readonly newerThan?: number;
  readonly id?: readonly string[];
}

export function withFilterFlags(command: Command): Command {
  return command
    .option('--group <name>', 'those of this consumer group')
    .option('--topic <topic>', 'those of this topic')
    .option('--key <key>', 'those of this key')
    .option('--older-than <span>', 'those that failed last longer ago: 90s, 30m, 2h, 7d', timeSpan)
    .option('--newer-than <span>', 'those that failed last since then', timeSpan)
    .option('--id <id>', 'this one, such as search/1042; may be given several times', all);
}

export function stateFlag(description: string): Option {
  return new Option('--state <state>', description)
    .choices(['dead', 'parked'] satisfies ParkedState[])
    .default('dead');
}

/** @throws OUTBOX_FILTER_INVALID */
export function filterOf(flags: FilterFlags, ids: readonly string[] = []): DeadFilter {
  const { group, topic, key, olderThan, newerThan } = flags;
  const wanted = [...ids, ...(flags.id ?? [])];
  return {
    ...(group === undefined ? {} : { group }),
    ...(topic === undefined ? {} : { topic }),
    ...(key === undefined ? {} : { key }),
    ...(olderThan === undefined ? {} : { olderThanSeconds: olderThan }),
    ...(newerThan === undefined ? {} : { newerThanSeconds: newerThan }),
    ...(wanted.length === 0 ? {} : { ids: wanted.map(parseDeadId) }),
  };
}

/**
 * The filter of a command that changes something: without one it wants to be told --all.
 *
 * @throws CLI_USAGE_INVALID, OUTBOX_FILTER_INVALID
 */
export function deliberateFilter(
  command: string,
  flags: FilterFlags & { readonly all?: true },
  ids: readonly string[],
): DeadFilter {
  const filter = filterOf(flags, ids);
  const filtered = Object.keys(filter).length > 0;
  if (filtered && flags.all === true) {
    throw new CliError('CLI_USAGE_INVALID', 'expected either --all or a filter, got both', {
      hint: 'leave --all out: the filter says which events are meant',
    });
  }
  if (!filtered && flags.all !== true) {
    throw new CliError('CLI_USAGE_INVALID', `expected to be told which events to ${command}, got none`, {
      hint: `give ids, or --group, --topic, --key, --older-than, --newer-than; or --all. With --dry-run nothing is changed`,
    });
  }
  return filter;
}
