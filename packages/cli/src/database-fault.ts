// What went wrong between pulsebox and the database, told apart: who refused, why, and what mends it.

export type DatabaseFaultKind =
  | 'refused'
  | 'unknown host'
  | 'time-out'
  | 'connection lost'
  | 'password'
  | 'role'
  | 'unknown database'
  | 'access rule'
  | 'tls'
  | 'full'
  | 'disk full'
  | 'starting or stopping'
  | 'not migrated'
  | 'permission'
  | 'read only'
  | 'statement';

export interface DatabaseFault {
  readonly kind: DatabaseFaultKind;
  /** One sentence. Never a password. */
  readonly message: string;
  readonly remedy: string;
  /** True when the same may work later without anybody changing anything here. */
  readonly away: boolean;
}

interface Described {
  readonly kind: DatabaseFaultKind;
  readonly what: string;
  readonly remedy: string;
}

const AWAY: ReadonlySet<DatabaseFaultKind> = new Set([
  'refused',
  'unknown host',
  'time-out',
  'connection lost',
  'full',
  'disk full',
  'starting or stopping',
]);

/** By the code of the operating system or of TLS, as Node hands it on. */
const BY_SYSTEM_CODE: Readonly<Record<string, Described>> = {
  ECONNREFUSED: {
    kind: 'refused',
    what: 'nothing listens there',
    remedy: 'start the server, or mend host and port; `npm start` brings a database of its own',
  },
  ENOTFOUND: {
    kind: 'unknown host',
    what: 'the host name is unknown',
    remedy: 'mend the host in DATABASE_URL or POSTGRES_HOST',
  },
  EAI_AGAIN: {
    kind: 'unknown host',
    what: 'the host name could not be looked up',
    remedy: 'look after the name service of this machine, or mend the host',
  },
  ETIMEDOUT: {
    kind: 'time-out',
    what: 'the server did not answer in time',
    remedy: 'look for a firewall on the way, or a server that is overloaded',
  },
  EHOSTUNREACH: {
    kind: 'time-out',
    what: 'the host cannot be reached',
    remedy: 'look after the network between this machine and the server',
  },
  ENETUNREACH: {
    kind: 'time-out',
    what: 'the network cannot be reached',
    remedy: 'look after the network of this machine',
  },
  ECONNRESET: {
    kind: 'connection lost',
    what: 'the connection was cut',
    remedy: 'look at the log of the server; then try again',
  },
  EPIPE: {
    kind: 'connection lost',
    what: 'the connection was cut',
    remedy: 'look at the log of the server; then try again',
  },
  ENOENT: {
    kind: 'refused',
    what: 'there is no such socket',
    remedy: 'start the server, or mend the folder of the socket',
  },
};

const TLS_REMEDY =
  'set sslmode in DATABASE_URL as the server wants it: ?sslmode=disable for one without TLS, ?sslmode=no-verify for one with a certificate of its own, ?sslmode=verify-full&sslrootcert=FILE for one that is to be checked';

/** By SQLSTATE. */
const BY_SQLSTATE: Readonly<Record<string, Described>> = {
  '28P01': {
    kind: 'password',
    what: 'the password is wrong',
    remedy:
      'mend user and password; characters such as @ : / in a password must be percent-encoded in DATABASE_URL',
  },
  '28000': {
    kind: 'role',
    what: 'the server does not let this role in',
    remedy: 'mend the user, or create the role with LOGIN',
  },
  '3D000': {
    kind: 'unknown database',
    what: 'the server has no such database',
    remedy:
      'mend the database at the end of DATABASE_URL (or POSTGRES_DB), or create it with `create database`',
  },
  '53300': {
    kind: 'full',
    what: 'the server has no connection left',
    remedy: 'raise max_connections, put a pooler in front, or lower DATABASE_POOL_SIZE of the workers',
  },
  '53100': {
    kind: 'disk full',
    what: 'the disk of the server is full',
    remedy:
      'make room there; what holds the log back is said by `pulsebox groups` (LAG) and `pulsebox doctor` (retention). Workers go on by themselves, nothing has to be restarted',
  },
  '57P01': {
    kind: 'starting or stopping',
    what: 'the server ended this connection',
    remedy: 'an administrator ended it, or the server shuts down: try again',
  },
  '57P02': {
    kind: 'starting or stopping',
    what: 'the server restarts after a crash',
    remedy: 'try again in a while; look at the log of the server',
  },
  '57P03': {
    kind: 'starting or stopping',
    what: 'the server is starting up or shutting down',
    remedy: 'try again in a while',
  },
  '3F000': {
    kind: 'not migrated',
    what: 'the tables of Pulsebox are not there',
    remedy: 'run `pulsebox migrate`',
  },
  '42P01': {
    kind: 'not migrated',
    what: 'a table of Pulsebox is not there',
    remedy: 'run `pulsebox migrate`; `pulsebox doctor` says more',
  },
  '42883': {
    kind: 'not migrated',
    what: 'a function of Pulsebox is not there',
    remedy: 'run `pulsebox migrate`; `pulsebox doctor` says more',
  },
  '42703': {
    kind: 'not migrated',
    what: 'a column of Pulsebox is not there',
    remedy: 'run `pulsebox migrate`; `pulsebox doctor` says more',
  },
  '42501': {
    kind: 'permission',
    what: 'this role lacks a privilege',
    remedy: 'use the role that ran `pulsebox migrate`, or grant what is missing; `pulsebox doctor` names it',
  },
  '25006': {
    kind: 'read only',
    what: 'the server takes no writes: it is a standby, or default_transaction_read_only is on',
    remedy: 'name the primary instead',
  },
};

/**
 * Undefined: the error is not from the way to the database, nor from the database.
 *
 * @param where `host:port/database`, for the message
 */
export function databaseFault(error: unknown, where: string): DatabaseFault | undefined {
  if (!(error instanceof Error)) return undefined;
  const described = describe(error);
  if (described === undefined) return undefined;
  const { kind, what, remedy } = described;
  return { kind, message: `${where}: ${what}`, remedy, away: AWAY.has(kind) };
}

function describe(error: Error): Described | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  if (typeof code === 'string' && severity !== undefined) return describeAnswer(error, code);
  if (typeof code === 'string' && BY_SYSTEM_CODE[code] !== undefined) return BY_SYSTEM_CODE[code];
  if (isTls(error, code)) return { kind: 'tls', what: `TLS failed: ${error.message}`, remedy: TLS_REMEDY };
  // node-postgres gives no code to what it says itself.
  if (/timeout|timed out/i.test(error.message)) return BY_SYSTEM_CODE['ETIMEDOUT'];
  if (/connection terminated|connection error|not queryable|server closed/i.test(error.message)) {
    return BY_SYSTEM_CODE['ECONNRESET'];
  }
  if (/^SASL|password must be a string/i.test(error.message)) {
    return {
      kind: 'password',
      what: 'the server wants a password, and none was given',
      remedy: 'add it to DATABASE_URL, or set POSTGRES_PASSWORD',
    };
  }
  return undefined;
}

/** An error that the server itself answered with. */
function describeAnswer(error: Error, sqlState: string): Described {
  if (sqlState === '28000' && /pg_hba\.conf|no encryption|SSL/i.test(error.message)) {
    const encrypted = !/no encryption|SSL off/i.test(error.message);
    return encrypted
      ? {
          kind: 'access rule',
          what: error.message,
          remedy: 'add a line for this role, database and address to pg_hba.conf of the server',
        }
      : {
          kind: 'tls',
          what: `${error.message} (it may want TLS)`,
          remedy:
            'add ?sslmode=require to DATABASE_URL, or a line for this address to pg_hba.conf of the server',
        };
  }
  const known = BY_SQLSTATE[sqlState];
  if (known !== undefined) return { ...known, what: `${known.what} (${error.message})` };
  return {
    kind: 'statement',
    what: `${error.message} (SQLSTATE ${sqlState})`,
    remedy: 'run `pulsebox doctor`, and the same command again with --verbose',
  };
}

function isTls(error: Error, code: unknown): boolean {
  if (/does not support SSL|SSL connection/i.test(error.message)) return true;
  return typeof code === 'string' && /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_VERIFY|EPROTO/.test(code);
}
