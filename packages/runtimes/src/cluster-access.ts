// How to reach the API server: from inside the cluster by the service account, from outside by a kubeconfig.

import { existsSync, readFileSync } from 'node:fs';
import type { KubeConfig } from '@kubernetes/client-node';
import { RuntimesError } from './runtimes-error.ts';

export interface ClusterAccess {
  /** A kubeconfig. Undefined: the service account of the Pod that this runs in. */
  readonly kubeconfig: string | undefined;
  /** Undefined: that of the service account, or of the kubeconfig's context. */
  readonly namespace: string | undefined;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Asks the API server nothing. @throws RUNTIMES_CONFIG_INVALID */
export async function loadAccess(
  access: ClusterAccess,
): Promise<{ readonly config: KubeConfig; readonly namespace: string }> {
  // The client takes the better part of a second to load: only who uses it pays for that.
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const { kubeconfig } = access;
  if (kubeconfig === undefined) {
    if (!existsSync(`${SERVICE_ACCOUNT}/token`)) {
      throw invalid(
        `expected ${SERVICE_ACCOUNT}/token, or a kubeconfig, but there is neither`,
        'inside a cluster mount the token of a service account; outside set OPENCLAW_K8S_KUBECONFIG',
      );
    }
    config.loadFromCluster();
  } else {
    load(config, kubeconfig);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw invalid(
      `expected ${String(kubeconfig)} to have a current context with a cluster, but it has none`,
      '`kubectl config use-context NAME` sets one',
    );
  }
  if (cluster.server.startsWith('http:') && !cluster.skipTLSVerify) {
    throw invalid(
      `expected the API server to be reached by https, got ${cluster.server}`,
      'a server without TLS, such as `kubectl proxy`, needs insecure-skip-tls-verify: true in the kubeconfig',
    );
  }
  const namespace =
    access.namespace ?? config.getContextObject(config.getCurrentContext())?.namespace?.trim();
  if (namespace === undefined || namespace === '') {
    throw invalid(
      'expected a namespace for runtimes, but none is named',
      'set OPENCLAW_K8S_NAMESPACE, or give the context of the kubeconfig a namespace',
    );
  }
  return { config, namespace };
}

function load(config: KubeConfig, path: string): void {
  try {
    readFileSync(path);
    config.loadFromFile(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalid(`expected ${path} to be a kubeconfig: ${why}`, 'OPENCLAW_K8S_KUBECONFIG names it', cause);
  }
}

function invalid(message: string, hint: string, cause?: unknown): RuntimesError {
  return new RuntimesError('RUNTIMES_CONFIG_INVALID', message, { hint, cause });
}
