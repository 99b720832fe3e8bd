export type { DebianServer } from './debian-postgres.ts';
export { debianPostgresInstalled, dumpAndRestore, startDebianServer } from './debian-postgres.ts';
export { documentedFamilies, sectionOf, servedFamilies } from './documented.ts';
export type { CodesOfPackage } from './documented-codes.ts';
export { testErrorCodes } from './documented-codes.ts';
export type { EventuallyOptions } from './eventually.ts';
export { eventually } from './eventually.ts';
export type { BrowserKeys } from './browser-keys.ts';
export { browserKeys } from './browser-keys.ts';
export type { ServerCertificate } from './certificate.ts';
export { createCertificate } from './certificate.ts';
export { freePort } from './free-port.ts';
export type { GivenMail, GmailNotification, GmailStandInMailbox } from './gmail-mailbox.ts';
export type {
  GmailFault,
  GmailFaultInjection,
  GmailStandIn,
  GmailStandInOptions,
  RecordedGmailRequest,
} from './gmail-stand-in.ts';
export { startGmailStandIn } from './gmail-stand-in.ts';
export { ClusterState } from './kubernetes-objects.ts';
export type { ClusterBehaviour, DeleteRequest, Resource, StoredObject } from './kubernetes-objects.ts';
export type { PodBehaviour } from './kubernetes-pods.ts';
export type {
  KubernetesFault,
  KubernetesFaultInjection,
  KubernetesStandIn,
  RecordedKubernetesRequest,
} from './kubernetes-stand-in.ts';
export { startKubernetesStandIn } from './kubernetes-stand-in.ts';
export type { KubernetesAnswer } from './kubernetes-status.ts';
export { failure, tooManyRequests } from './kubernetes-status.ts';
export type { StandInDocument, StandInFault, StandInIndex, StandInSettings } from './meilisearch-index.ts';
export type {
  FaultInjection,
  InjectedFault,
  MeilisearchStandIn,
  MeilisearchStandInOptions,
  RecordedRequest,
} from './meilisearch-stand-in.ts';
export { startMeilisearchStandIn } from './meilisearch-stand-in.ts';
export type { StandInTask, TaskFault } from './meilisearch-tasks.ts';
export type {
  BrowserSubscription,
  PushAnswer,
  PushBehaviour,
  PushService,
  PushServiceOptions,
  ReceivedPush,
} from './push-service.ts';
export { startPushService } from './push-service.ts';
export type { PgBouncer } from './pgbouncer.ts';
export { pgBouncerInstalled, startPgBouncer } from './pgbouncer.ts';
export type { CollectorAnswer, OtlpCollector } from './otlp-collector.ts';
export { startOtlpCollector } from './otlp-collector.ts';
export type { CollectedSpan } from './otlp-spans.ts';
export type { PubSubEmulator } from './pubsub-emulator.ts';
export { findPubSubEmulator, startPubSubEmulator } from './pubsub-emulator.ts';
export type { PublishFault, PubSubStandIn, PubSubStandInOptions } from './pubsub-stand-in.ts';
export { startPubSubStandIn } from './pubsub-stand-in.ts';
export type { Delivery, StandInSubscription, StoredMessage } from './pubsub-state.ts';
export { createTemplate } from './template-database.ts';
export type { TestDatabase, TestDatabaseOptions } from './test-database.ts';
export { createTestDatabase } from './test-database.ts';
export type { BreakingMoment, TcpProxy } from './tcp-proxy.ts';
export { tcpProxy } from './tcp-proxy.ts';
export type { TemporaryServer } from './temporary-server.ts';
export { startTemporaryServer } from './temporary-server.ts';
export type { Program, ProgramOptions } from './program.ts';
export { runProgram } from './program.ts';
export type { ReadmeRun } from './readme-program.ts';
export { readmeBlocks, readmeFolder, runReadme } from './readme-program.ts';
