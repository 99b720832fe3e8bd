// The samplers that OpenTelemetry names in OTEL_TRACES_SAMPLER. Apart from what makes them, so that a worker that does
// not trace can check its configuration without loading an SDK.

export const samplerNames = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export type SamplerName = (typeof samplerNames)[number];
