// Which push service an origin belongs to: the label of metrics. Origins themselves come from strangers, without bound.

export const services = ['fcm', 'mozilla', 'apple', 'windows', 'other'] as const;
export type Service = (typeof services)[number];

/** Where anybody may have a page of his own under a host, only the names that push has. */
const HOSTS: readonly (readonly [pattern: RegExp, service: Service])[] = [
  [/^https:\/\/(?:fcm|android)\.googleapis\.com$|^https:\/\/jmt17\.google\.com$/, 'fcm'],
  [/^https:\/\/[\w.-]+\.push\.services\.mozilla\.com$/, 'mozilla'],
  [/^https:\/\/[\w.-]+\.push\.apple\.com$/, 'apple'],
  [/^https:\/\/[\w.-]+\.notify\.windows\.com$/, 'windows'],
];

/** @param origin for instance `https://fcm.googleapis.com` */
export function serviceOf(origin: string): Service {
  return HOSTS.find(([pattern]) => pattern.test(origin))?.[1] ?? 'other';
}
