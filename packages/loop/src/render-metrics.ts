// A registry as text, family by family: one collector that throws or hangs costs its own family, not the scrape.

import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { bounded } from './bounded.ts';

/** A collector that asks a database gets this long, in milliseconds; less than the sidecar waits for the whole. */
const COLLECT_MS = 150;

/** Returns the renderer. It never rejects, and warns once a failing family. */
export function createRenderer(registry: Registry, log: Logger): () => Promise<string> {
  const warned = new Set<string>();
  const leaveOut = (family: string, why: string, err?: unknown): undefined => {
    if (!warned.has(family)) {
      warned.add(family);
      log.warn(
        { family, ...(err === undefined ? {} : { err }) },
        `metrics are served without ${family}: ${why}`,
      );
    }
  };
  const renderFamily = async (family: string): Promise<string | undefined> => {
    try {
      const text = await bounded(registry.getSingleMetricAsString(family), COLLECT_MS);
      return text.settled ? text.value : leaveOut(family, `its collector took longer than ${COLLECT_MS} ms`);
    } catch (error) {
      return leaveOut(family, 'its collector failed', error);
    }
  };
  return async () => {
    const families = await Promise.all(
      registry.getMetricsAsArray().map(async ({ name }) => renderFamily(name)),
    );
    return families
      .filter((text) => text !== undefined)
      .map((text) => `${text.trimEnd()}\n`)
      .join('');
  };
}
