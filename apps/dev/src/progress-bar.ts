// One line that fills, with a rate; on a pipe a line now and then instead.

export interface ProgressBar {
  update(count: number): void;
  done(): void;
}

const WIDTH = 30;

export function progressBar(label: string, total: number): ProgressBar {
  const startedAtMs = performance.now();
  const terminal = process.stdout.isTTY;
  let count = 0;
  let drawnAtMs = 0;

  function draw(): void {
    const share = total === 0 ? 1 : Math.min(1, count / total);
    const filled = Math.round(share * WIDTH);
    const seconds = (performance.now() - startedAtMs) / 1_000;
    const rate = Math.round(count / Math.max(seconds, 0.001));
    const bar = `${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)}`;
    const line = `  ${label} ${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${count.toLocaleString('en')} of ${total.toLocaleString('en')}, ${rate.toLocaleString('en')} a second`;
    process.stdout.write(terminal ? `\r\u001b[2K${line}` : `${line}\n`);
  }

  return {
    update(now): void {
      count = now;
      if (performance.now() - drawnAtMs < (terminal ? 80 : 2_000)) return;
      drawnAtMs = performance.now();
      draw();
    },
    done(): void {
      draw();
      if (terminal) process.stdout.write('\n');
    },
  };
}
