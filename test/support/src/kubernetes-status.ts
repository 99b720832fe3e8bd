// What the API server says when it does not do what it was asked: Status objects, in the words of the real one.

export interface KubernetesAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StatusDetails {
  readonly name?: string;
  readonly kind?: string;
  readonly causes?: readonly { readonly reason: string; readonly message: string; readonly field: string }[];
  readonly retryAfterSeconds?: number;
}

export function failure(
  code: number,
  reason: string,
  message: string,
  details: StatusDetails = {},
  headers: Readonly<Record<string, string>> = {},
): KubernetesAnswer {
  return {
    status: code,
    headers,
    body: {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      details,
      code,
    },
  };
}

export const notFound = (resource: string, name: string): KubernetesAnswer =>
  failure(404, 'NotFound', `${resource} "${name}" not found`, { name, kind: resource });

export const pageNotFound = (): KubernetesAnswer => ({ status: 404, body: '404 page not found\n' });

export const alreadyExists = (resource: string, name: string, deleting: boolean): KubernetesAnswer =>
  failure(
    409,
    'AlreadyExists',
    `${deleting ? 'object is being deleted: ' : ''}${resource} "${name}" already exists`,
    { name, kind: resource },
  );

export const conflict = (resource: string, name: string, why: string): KubernetesAnswer =>
  failure(409, 'Conflict', `Operation cannot be fulfilled on ${resource} "${name}": ${why}`, {
    name,
    kind: resource,
  });

export const forbidden = (
  user: string,
  verb: string,
  resource: string,
  namespace: string,
  name?: string,
): KubernetesAnswer =>
  failure(
    403,
    'Forbidden',
    `${resource}${name === undefined ? '' : ` "${name}"`} is forbidden: User "${user}" cannot ${verb} resource "${resource}" in API group "" in the namespace "${namespace}"`,
    { kind: resource, ...(name === undefined ? {} : { name }) },
  );

export const unauthorized = (): KubernetesAnswer => failure(401, 'Unauthorized', 'Unauthorized');

export const expired = (): KubernetesAnswer =>
  failure(
    410,
    'Expired',
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
  );

export const invalid = (kind: string, name: string, field: string, message: string): KubernetesAnswer =>
  failure(422, 'Invalid', `${kind} "${name}" is invalid: ${field}: ${message}`, {
    name,
    kind,
    causes: [{ reason: 'FieldValueInvalid', message, field }],
  });

export const tooManyRequests = (retryAfterSeconds: number): KubernetesAnswer =>
  failure(
    429,
    'TooManyRequests',
    'Too many requests, please try again later.',
    { retryAfterSeconds },
    { 'retry-after': String(retryAfterSeconds) },
  );
