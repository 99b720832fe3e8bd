// Asks the sidecar of the worker on this machine how it is: what a container's HEALTHCHECK or an exec probe runs.

import { get } from 'node:http';
import { errorCode } from './error-code.ts';
import type { HealthCheckName } from './flags.ts';

export interface HealthcheckOptions {
  readonly host?: string;
  readonly port: number;
  readonly check: HealthCheckName;
  /** Default 2_000. */
  readonly timeoutMs?: number;
}

export interface HealthcheckResult {
  readonly healthy: boolean;
  /** One line for a person. */
  readonly line: string;
}

/** Never rejects: a sidecar that does not answer is an answer. */
export async function healthcheck(options: HealthcheckOptions): Promise<HealthcheckResult> {
  const { host = '127.0.0.1', port, check, timeoutMs = 2_000 } = options;
  const where = `${host}:${port}`;
  try {
    const { statusCode, body } = await ask(
      `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
      check,
      timeoutMs,
    );
    const healthy = statusCode === 200;
    return { healthy, line: `${check}: ${healthy ? 'ok' : `HTTP ${statusCode}`}${details(body)}` };
  } catch (error) {
    const name = error instanceof Error ? error.name : 'unknown error';
    const why =
      name === 'TimeoutError' || name === 'AbortError'
        ? `within ${timeoutMs / 1_000} s`
        : `(${errorCode(error) ?? name})`;
    return { healthy: false, line: `${check}: no answer from ${where} ${why}` };
  }
}

function ask(
  origin: string,
  check: HealthCheckName,
  timeoutMs: number,
): Promise<{ statusCode: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    // The signal bounds the whole exchange; a socket time-out would start anew with every byte.
    const signal = AbortSignal.timeout(timeoutMs);
    const request = get(`${origin}/health/${check}`, { agent: false, signal }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body = (body + chunk).slice(0, 65_536);
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ statusCode: response.statusCode, body });
      });
    });
    request.on('error', reject);
  });
}

interface HealthBody {
  readonly worker?: string;
  readonly status?: string;
  readonly reasons?: readonly string[];
  readonly checks?: Readonly<Record<string, { readonly status?: string }>>;
}

function details(text: string): string {
  try {
    const body: HealthBody = JSON.parse(text);
    const stuck = Object.entries(body.checks ?? {}).flatMap(([name, { status }]) =>
      status === 'stuck' ? [name] : [],
    );
    const why = body.reasons ?? (stuck.length > 0 ? [`stuck: ${stuck.join(', ')}`] : []);
    return ` (${[`${body.worker ?? 'unknown'} is ${body.status ?? 'unknown'}`, ...why].join('; ')})`;
  } catch {
    return ' (the answer is not from a worker)';
  }
}
