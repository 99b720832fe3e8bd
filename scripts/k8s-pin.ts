// npm run k8s:pin -- --pulsebox NAME@sha256:… --postgres NAME@sha256:…: says which images production runs. Commit what it writes:
// rolling back is reverting that commit.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { IMAGES, parsePin, pins, pinsFile } from './k8s/pins.ts';
import type { Image, PinnedImage } from './k8s/pins.ts';
import { K8S } from './k8s/targets.ts';

const { values } = parseArgs({
  options: {
    pulsebox: { type: 'string' },
    postgres: { type: 'string' },
    k8s: { type: 'string', default: K8S },
  },
});
const faults = IMAGES.filter((image) => parsePin(values[image] ?? '') === undefined).map(
  (image) =>
    `expected --${image} to be an image by digest, NAME@sha256: and 64 hexadecimal digits, got "${values[image] ?? 'nothing'}"`,
);
if (faults.length > 0) {
  console.error(
    `${faults.join('\n')}\nhint: the push prints the digest; \`skopeo inspect\` or the registry's page shows it, too`,
  );
  process.exitCode = 2;
} else {
  const images = Object.fromEntries(IMAGES.map((image) => [image, parsePin(values[image] ?? '')])) as Record<
    Image,
    PinnedImage
  >;
  writeFileSync(pinsFile(values.k8s), pins(images));
  console.log(`wrote ${pinsFile(values.k8s)}; \`npm run k8s:verify\`, then commit it`);
}
