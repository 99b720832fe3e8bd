// Which traces are recorded: what OTEL_TRACES_SAMPLER says, and what links say where a span has no parent.

import { TraceFlags } from '@opentelemetry/api';
import type { Link } from '@opentelemetry/api';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { Sampler } from '@opentelemetry/sdk-trace';
import type { SamplerName } from './sampler-names.ts';

const SAMPLERS: Readonly<Record<SamplerName, (ratio: number) => Sampler>> = {
  always_on: () => new AlwaysOnSampler(),
  always_off: () => new AlwaysOffSampler(),
  traceidratio: (ratio) => new TraceIdRatioBasedSampler(ratio),
  parentbased_always_on: () => new ParentBasedSampler({ root: byLinks(new AlwaysOnSampler()) }),
  parentbased_always_off: () => new ParentBasedSampler({ root: byLinks(new AlwaysOffSampler()) }),
  parentbased_traceidratio: (ratio) =>
    new ParentBasedSampler({ root: byLinks(new TraceIdRatioBasedSampler(ratio)) }),
};

/** @param ratio from 0 to 1, for those that have one */
export function samplerOf(name: SamplerName, ratio: number): Sampler {
  return SAMPLERS[name](ratio);
}

/**
 * A batch of several traces has no parent, but links. "As the parent says" is then: as those say that it is linked to.
 * It is recorded when one of them is, so that no trace that somebody records ends at the log; and when none of them is,
 * it is not.
 */
function byLinks(otherwise: Sampler): Sampler {
  return {
    shouldSample(context, traceId, name, kind, attributes, links) {
      if (links.length === 0) return otherwise.shouldSample(context, traceId, name, kind, attributes, links);
      const decision = links.some(isSampled)
        ? SamplingDecision.RECORD_AND_SAMPLED
        : SamplingDecision.NOT_RECORD;
      return { decision };
    },
    toString: () => `ByLinks{${otherwise.toString()}}`,
  };
}

function isSampled({ context }: Link): boolean {
  return (context.traceFlags & TraceFlags.SAMPLED) !== 0;
}
