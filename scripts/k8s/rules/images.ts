// Which images run is said, and in production it cannot change behind one's back.

import { containersOf, nameOf, podsOf } from '../manifest.ts';
import type { Rule } from '../rule.ts';

const DIGEST = /@sha256:([0-9a-f]{64})$/;

export const imagesRule: Rule = ({ manifests, pinned }) =>
  podsOf(manifests).flatMap((pod) =>
    containersOf(pod).flatMap(({ name, image }) => {
      const where = `${nameOf(pod.owner)}, container ${name}`;
      const digest = DIGEST.exec(image)?.[1];
      if (digest !== undefined)
        return new Set(digest).size > 2 ? [] : [`${where}: the digest of ${image} is a placeholder`];
      if (pinned) return [`${where}: expected an image by digest (name@sha256:…), got ${image}`];
      const [, tag] = /:([^:/]+)$/.exec(image) ?? [];
      return tag === undefined || tag === 'latest'
        ? [`${where}: ${image} is whatever was pushed last; name a tag or a digest`]
        : [];
    }),
  );
