// Shows a rebuild as it goes: a bar where somebody watches, a line for each step elsewhere.

import type { ReindexProgress } from '@pulsebox/search';
import { count, plural } from './quantities.ts';
import type { Terminal } from './terminal.ts';

export interface ShownProgress {
  readonly show: (progress: ReindexProgress) => void;
  /** Takes the bar away. */
  end(): void;
}

const BAR_WIDTH = 24;
const REDRAW_EVERY_MS = 100;

/** @param expectedRows how many rows there will be, about; 0: unknown */
export function createReindexProgress(terminal: Terminal, name: string, expectedRows: number): ShownProgress {
  let step: ReindexProgress['step'] | undefined;
  let drawnAtMs = Number.NEGATIVE_INFINITY;
  return {
    show(progress): void {
      const isNewStep = progress.step !== step;
      step = progress.step;
      if (terminal.watched) {
        if (!isNewStep && performance.now() - drawnAtMs < REDRAW_EVERY_MS) return;
        drawnAtMs = performance.now();
        terminal.redraw(`${name} ${bar(progress, expectedRows)} ${describe(progress)}`);
      } else if (isNewStep && !terminal.json) {
        terminal.remark(`${name}: ${describe(progress)}`);
      }
    },
    end(): void {
      if (terminal.watched) terminal.redraw('');
    },
  };
}

function bar({ step, rows }: ReindexProgress, expectedRows: number): string {
  const filled = step !== 'filling' ? 1 : expectedRows === 0 ? 0 : Math.min(1, rows / expectedRows);
  const width = Math.round(filled * BAR_WIDTH);
  return `${'█'.repeat(width)}${'░'.repeat(BAR_WIDTH - width)}`;
}

function describe({ step, rows, events }: ReindexProgress): string {
  return `${step}, ${plural(rows, 'row')}${events === 0 ? '' : `, ${count(events)} events`}`;
}
