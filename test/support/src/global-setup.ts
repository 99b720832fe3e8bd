/** Runs once before all test files. The database server joins here. */
export function setup(): void {}
