// In a mesh that takes mTLS only, whoever has no sidecar is refused: a migration or a backup that was forgotten would find no
// database.

import { nameOf, podsOf } from '../manifest.ts';
import type { Rule } from '../rule.ts';

const INJECT = 'sidecar.istio.io/inject';

export const meshRule: Rule = ({ manifests }) =>
  manifests.some(({ kind, spec }) => kind === 'PeerAuthentication' && spec?.mtls?.mode === 'STRICT')
    ? podsOf(manifests)
        .filter(({ labels }) => labels[INJECT] !== 'true')
        .map(({ owner }) => `${nameOf(owner)}: its Pods have no sidecar (${INJECT}), and mTLS is STRICT`)
    : [];
