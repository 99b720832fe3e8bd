// What a push service checks of a VAPID token (RFC 8292).

import { createPublicKey, verify } from 'node:crypto';

export interface VapidClaims {
  readonly aud: string;
  readonly exp: number;
  readonly sub: string;
  /** The public key that signed it, base64url. */
  readonly publicKey: string;
}

const LONGEST_LIFE_SECONDS = 86_400;

/** @throws Error with what a service would find wrong */
export function checkVapid(authorization: string | undefined, audience: string): VapidClaims {
  const [, token = '', key = ''] =
    /^vapid t=([\w-]+\.[\w-]+\.[\w-]+), ?k=([\w-]+)$/.exec(authorization ?? '') ?? [];
  if (token === '') throw new Error('no VAPID token');
  const [header = '', claims = '', signature = ''] = token.split('.');
  const { alg, typ } = parsed(header);
  if (alg !== 'ES256' || typ !== 'JWT') throw new Error(`a token of ${String(typ)} and ${String(alg)}`);
  const point = Buffer.from(key, 'base64url');
  if (point.length !== 65 || point[0] !== 4) throw new Error('a key that is no uncompressed point');
  const publicKey = createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: 'P-256',
      x: point.subarray(1, 33).toString('base64url'),
      y: point.subarray(33).toString('base64url'),
    },
  });
  const isSigned = verify(
    'sha256',
    Buffer.from(`${header}.${claims}`),
    { key: publicKey, dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'),
  );
  if (!isSigned) throw new Error('a signature that is not of this key');
  const { aud, exp, sub } = parsed(claims);
  if (aud !== audience) throw new Error(`a token for ${String(aud)} at ${audience}`);
  const left = typeof exp === 'number' ? exp - Date.now() / 1_000 : Number.NaN;
  if (!(left > 0 && left <= LONGEST_LIFE_SECONDS)) throw new Error(`a token that ends in ${left} s`);
  if (typeof sub !== 'string' || !/^(?:mailto:|https:)/.test(sub)) throw new Error('no subject');
  return { aud: audience, exp: Number(exp), sub, publicKey: key };
}

function parsed(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
}
