// The warnings that loops raise about themselves. They are shown to people and never turn health into a 503.

import type { Logger } from 'pino';
import type { Loop, LoopCheck } from './loop.ts';
import { redactText } from './redact.ts';
import type { LoopChecks } from './sidecar-messages.ts';

const LONGEST_DETAIL = 200;

/** Never throws: a loop whose `checks` throws is shown as degraded. */
export function collectChecks(loops: readonly Loop[], log: Logger): LoopChecks {
  const collected: Record<string, Record<string, LoopCheck>> = {};
  for (const loop of loops) {
    if (loop.checks === undefined) continue;
    try {
      collected[loop.name] = Object.fromEntries(
        Object.entries(loop.checks()).map(([name, check]) => [name, presentable(check)]),
      );
    } catch (error) {
      log.debug({ loop: loop.name, err: error }, 'the checks of a loop threw');
      collected[loop.name] = {
        checks: { status: 'degraded', detail: 'the checks of this loop threw an error' },
      };
    }
  }
  return collected;
}

/** /health is open to whoever reaches the port: one short sentence, no credentials. */
function presentable({ status, detail }: LoopCheck): LoopCheck {
  if (detail === undefined) return { status };
  return { status, detail: redactText(detail.replace(/\s+/g, ' ')).slice(0, LONGEST_DETAIL) };
}
