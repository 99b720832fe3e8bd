export type { EventuallyOptions } from './eventually.ts';
export { eventually } from './eventually.ts';
export { freePort } from './free-port.ts';
export type { TestDatabase, TestDatabaseOptions } from './test-database.ts';
export { createTestDatabase } from './test-database.ts';
