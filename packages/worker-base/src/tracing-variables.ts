// Tracing, as the environment variables that OpenTelemetry has for it.

import { env } from '@pulsebox/loop';
import type { ComposeContext, Environment, Variable } from '@pulsebox/loop';
import {
  isCollectorHeader,
  openTracing as openFor,
  parsePairs,
  samplerNames,
  tracingProtocols,
} from '@pulsebox/tracing';
import type { SamplerName, Tracing, TracingProtocol, TracingSettings } from '@pulsebox/tracing';

export const tracingVariables: {
  readonly OTEL_EXPORTER_OTLP_ENDPOINT: Variable<string | undefined>;
  readonly OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Variable<string | undefined>;
  readonly OTEL_EXPORTER_OTLP_PROTOCOL: Variable<TracingProtocol>;
  readonly OTEL_EXPORTER_OTLP_HEADERS: Variable<string | undefined>;
  readonly OTEL_EXPORTER_OTLP_TIMEOUT: Variable<number>;
  readonly OTEL_SERVICE_NAME: Variable<string | undefined>;
  readonly OTEL_RESOURCE_ATTRIBUTES: Variable<string | undefined>;
  readonly OTEL_TRACES_SAMPLER: Variable<SamplerName>;
  readonly OTEL_TRACES_SAMPLER_ARG: Variable<number>;
  readonly OTEL_BSP_SCHEDULE_DELAY: Variable<number>;
  readonly OTEL_BSP_MAX_QUEUE_SIZE: Variable<number>;
  readonly OTEL_TRACES_EXPORTER: Variable<string>;
  readonly OTEL_SDK_DISABLED: Variable<boolean>;
} = {
  OTEL_EXPORTER_OTLP_ENDPOINT: env.optional(
    env.url({
      description:
        'The collector of traces, for instance http://collector:4318; /v1/traces is added. Unset: tracing is off.',
    }),
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: env.optional(
    env.url({ description: 'The same as a whole address, to which nothing is added; it wins.' }),
  ),
  OTEL_EXPORTER_OTLP_PROTOCOL: env.oneOf(tracingProtocols, {
    description: 'How spans are written. Collectors take both on port 4318; gRPC is not spoken.',
    default: 'http/protobuf',
  }),
  OTEL_EXPORTER_OTLP_HEADERS: env.optional(
    env.secret({
      description: 'Headers for the collector: name=value, with commas between them, values percent-encoded.',
    }),
  ),
  OTEL_EXPORTER_OTLP_TIMEOUT: env.integer({
    description: 'The longest one export may take, its retries included, in milliseconds.',
    default: 10_000,
    min: 1,
    max: 3_600_000,
  }),
  OTEL_SERVICE_NAME: env.optional(
    env.string({ description: "The service that spans are of. Unset: pulsebox- and the worker's name." }),
  ),
  OTEL_RESOURCE_ATTRIBUTES: env.optional(
    env.string({
      description:
        'What else every span says of its process: name=value, with commas between them, values percent-encoded.',
    }),
  ),
  OTEL_TRACES_SAMPLER: env.oneOf(samplerNames, {
    description: 'Which traces are recorded.',
    default: 'parentbased_traceidratio',
  }),
  OTEL_TRACES_SAMPLER_ARG: env.fraction({
    description: 'The share of traces that is recorded, of those that begin in a worker.',
    default: 0.1,
  }),
  OTEL_BSP_SCHEDULE_DELAY: env.integer({
    description: 'How long spans are gathered before they are sent, in milliseconds.',
    default: 5_000,
    min: 1,
    max: 3_600_000,
  }),
  OTEL_BSP_MAX_QUEUE_SIZE: env.integer({
    description: 'The most spans that wait for the collector; more are dropped and counted.',
    default: 2_048,
    min: 1,
    max: 1_000_000,
  }),
  OTEL_TRACES_EXPORTER: env.string({
    description: 'otlp, or none: tracing is off. Others are not spoken; they are ignored, with a warning.',
    default: 'otlp',
  }),
  OTEL_SDK_DISABLED: env.boolean({
    description: 'Tracing is off, whatever the other variables say.',
    default: false,
  }),
};

export type TracingConfig = Environment<typeof tracingVariables>;

const ADDRESSES = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] as const;
const LISTS = ['OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_RESOURCE_ATTRIBUTES'] as const;

/** A rule for `WorkerCommand.check`: lists that can be read, and what a request to the collector can be made of. */
export function checkTracing(config: TracingConfig): readonly string[] {
  return [...addressFaults(config), ...listFaults(config), ...headerFaults(config)];
}

/** `fetch` takes none with credentials: each export would fail, for a reason that names nothing. */
function addressFaults(config: TracingConfig): string[] {
  return ADDRESSES.flatMap((name) => {
    const { username, password } = new URL(config[name] ?? 'http://unset');
    return username === '' && password === ''
      ? []
      : [
          `expected ${name} to be a URL without a user and a password (its value is not shown): write them into OTEL_EXPORTER_OTLP_HEADERS, as authorization=Basic%20…`,
        ];
  });
}

function listFaults(config: TracingConfig): string[] {
  return LISTS.flatMap((name) => {
    const parsed = parsePairs(config[name] ?? '');
    return parsed.fault
      ? [
          `expected ${name} to be name=value pairs with commas between them, values percent-encoded, but entry ${parsed.entry} is none (its value is not shown)`,
        ]
      : [];
  });
}

function headerFaults({ OTEL_EXPORTER_OTLP_HEADERS: text = '' }: TracingConfig): string[] {
  if (parsePairs(text).fault) return [];
  const parsed = parsePairs(text, isCollectorHeader);
  return parsed.fault
    ? [
        `expected OTEL_EXPORTER_OTLP_HEADERS to be headers that can be added to a request, but entry ${parsed.entry} is none (its value is not shown): names are letters, digits and hyphens, values are Latin-1, and content-type, host and the like are the request's own`,
      ]
    : [];
}

export interface OpenTracingResources
  extends Pick<ComposeContext<typeof tracingVariables>, 'config' | 'log' | 'registry'> {
  /** `worker`, `push-worker` … */
  readonly worker: string;
  readonly version: string;
  /** Whether its requests carry traces on. False for a worker that sends to addresses of strangers. */
  readonly requests: boolean;
}

/** Tracing as configured. Undefined: it is off, which is said, and no SDK is loaded. */
export async function openTracing(resources: OpenTracingResources): Promise<Tracing | undefined> {
  const { config, log, registry, worker, version, requests } = resources;
  const exporters = exportersOf(config.OTEL_TRACES_EXPORTER);
  // The specification asks for this: the variable is often set for all programs of a host, whatever they speak.
  if (exporters.unknown.length > 0) {
    const list = exporters.unknown.map((name) => JSON.stringify(name)).join(', ');
    log.warn(
      `expected OTEL_TRACES_EXPORTER to be otlp or none, got ${list}: ignored, as if it were not there`,
    );
  }
  const url = urlOf(config);
  if (url === undefined) {
    log.info('tracing is off: OTEL_EXPORTER_OTLP_ENDPOINT is not set');
    return undefined;
  }
  if (config.OTEL_SDK_DISABLED) {
    log.info('tracing is off: OTEL_SDK_DISABLED is set');
    return undefined;
  }
  if (exporters.none) {
    log.info('tracing is off: OTEL_TRACES_EXPORTER is none');
    return undefined;
  }
  const settings = settingsOf(config, url, `pulsebox-${worker}`);
  log.info({ collector: new URL(url).host, sampler: settings.sampler, ratio: settings.ratio }, 'tracing');
  return await openFor({ settings, version, registry, log, requests });
}

/** A list, compared without case. `none` counts where nothing else is known. */
function exportersOf(text: string): { readonly none: boolean; readonly unknown: readonly string[] } {
  const names = text.split(',').flatMap((name) => (name.trim() === '' ? [] : [name.trim()]));
  const is = (wanted: string): boolean => names.some((name) => name.toLowerCase() === wanted);
  return {
    none: is('none') && !is('otlp'),
    unknown: names.filter((name) => !['otlp', 'none'].includes(name.toLowerCase())),
  };
}

function urlOf(config: TracingConfig): string | undefined {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: whole } = config;
  if (whole !== undefined || base === undefined) return whole;
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

function settingsOf(config: TracingConfig, url: string, defaultName: string): TracingSettings {
  const resource = pairsOf(config.OTEL_RESOURCE_ATTRIBUTES);
  return {
    url,
    protocol: config.OTEL_EXPORTER_OTLP_PROTOCOL,
    headers: pairsOf(config.OTEL_EXPORTER_OTLP_HEADERS),
    timeoutMs: config.OTEL_EXPORTER_OTLP_TIMEOUT,
    serviceName: config.OTEL_SERVICE_NAME ?? resource['service.name'] ?? defaultName,
    resource,
    sampler: config.OTEL_TRACES_SAMPLER,
    ratio: config.OTEL_TRACES_SAMPLER_ARG,
    delayMs: config.OTEL_BSP_SCHEDULE_DELAY,
    mostSpans: config.OTEL_BSP_MAX_QUEUE_SIZE,
  };
}

function pairsOf(text: string | undefined): Readonly<Record<string, string>> {
  const parsed = parsePairs(text ?? '');
  return parsed.fault ? {} : parsed.pairs;
}
