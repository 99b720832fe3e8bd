// The one place that ends the process by force.

/** Ends it now. Log lines are written synchronously, so none is lost. */
export function endProcess(exitCode: number): never {
  // oxlint-disable-next-line unicorn/no-process-exit -- only reached when waiting for a natural end would be wrong
  process.exit(exitCode);
}

/** Ends it when the caller has had its turn: after a failure, a half-open pool must not keep a dead worker alive. */
export function endProcessSoon(exitCode: number): void {
  process.exitCode = exitCode;
  setImmediate(() => {
    endProcess(exitCode);
  });
}
