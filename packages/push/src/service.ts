// Which push service an origin belongs to: the label of metrics. Origins themselves come from strangers, without bound.

export const services = ['fcm', 'mozilla', 'apple', 'windows', 'other'] as const;
export type Service = (typeof services)[number];

const HOSTS: readonly (readonly [suffix: string, service: Service])[] = [
  ['.googleapis.com', 'fcm'],
  ['.push.services.mozilla.com', 'mozilla'],
  ['.push.apple.com', 'apple'],
  ['.notify.windows.com', 'windows'],
];

/** @param origin for instance `https://fcm.googleapis.com` */
export function serviceOf(origin: string): Service {
  return HOSTS.find(([suffix]) => origin.endsWith(suffix))?.[1] ?? 'other';
}
