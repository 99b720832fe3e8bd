export type { Connections, DatabaseConfig } from './database-variables.ts';
export { checkDatabase, connections, databaseVariables } from './database-variables.ts';
export type { ConsumerGroup, OpenedLog, OpenLogOptions } from './open-log.ts';
export { openLog } from './open-log.ts';
export type { OutboxConfig } from './outbox-variables.ts';
export { outboxFlags, outboxVariables } from './outbox-variables.ts';
export type { SearchConfig } from './search-variables.ts';
export { openSearch, searchVariables } from './search-variables.ts';
