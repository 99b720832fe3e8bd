// How a job in a child process speaks with the bench that started it.

export interface Channel {
  /** What was to be prepared is there; the bench may go on, and is told what it has to know of it. */
  ready(said?: unknown): void;
  /** The bench needs it no longer. A job that ends by itself does not look. */
  readonly stopped: Promise<void>;
}

export type Job<Input, Output> = (input: Input, channel: Channel) => Promise<Output>;

export interface JobRequest {
  readonly job: string;
  readonly input: unknown;
}

export type ToChild = { readonly request: JobRequest } | { readonly stop: true };

export type FromChild =
  | { readonly kind: 'ready'; readonly said: unknown }
  | { readonly kind: 'done'; readonly output: unknown; readonly usage: ProcessUsage };

export interface ProcessUsage {
  /** User and system time of the whole process, start-up included, in seconds. */
  readonly cpuSeconds: number;
  /** The most memory it ever had resident, in MiB. */
  readonly peakRssMiB: number;
}
