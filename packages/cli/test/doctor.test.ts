import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createTokenVault, parseKeyring } from '@pulsebox/gmail';
import type { AddressInfo } from 'node:net';
import { emit, registerGroup } from '@pulsebox/outbox';
import { createTestDatabase, startKubernetesStandIn, startMeilisearchStandIn } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { examine as examineAll } from '../src/doctor/examine.ts';
import { pulsebox } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await emit(database.pool, { topic: 't', payload: {} }, { autocommit: true });
});

afterAll(async () => {
  await database.drop();
});

interface Finding {
  readonly check: string;
  readonly status: string;
  readonly message: string;
  readonly remedy: string | null;
}

interface Diagnosis {
  readonly code: number | null;
  readonly ok: boolean;
  readonly checks: readonly Finding[];
  /** The findings of one check. */
  of(check: string): readonly Finding[];
}

async function examine(env: Record<string, string> = {}, args: readonly string[] = []): Promise<Diagnosis> {
  const ran = await pulsebox(['doctor', '--json', ...args], { env: { DATABASE_URL: database.url, ...env } });
  const { ok, checks } = ran.json<{ ok: boolean; checks: Finding[] }>();
  return { code: ran.code, ok, checks, of: (check) => checks.filter((finding) => finding.check === check) };
}

/** The same without a process, which takes ten times as long: for what is about one check. */
async function examineHere(env: Record<string, string> = {}): Promise<Diagnosis> {
  const checks = await examineAll({
    env: { DATABASE_URL: database.url, ...env },
    cwd: '/',
    longTransactionMinutes: 5,
  });
  const ok = checks.every(({ status }) => status !== 'fail');
  return { code: ok ? 0 : 1, ok, checks, of: (check) => checks.filter((finding) => finding.check === check) };
}

/** The statements in a remedy: what stands after "or:" when there is a choice. */
function statementsIn(remedy: string | null | undefined): string {
  const [, statements] =
    /((?:create|alter|grant|select|rollback) .*;)/s.exec(remedy?.split(' or: ').at(-1) ?? '') ?? [];
  if (statements === undefined) throw new Error(`no statement in: ${remedy}`);
  return statements;
}

test('finds nothing wrong with a database that was just migrated', async () => {
  const diagnosis = await examine();
  expect(diagnosis.checks.filter(({ status }) => status === 'fail')).toEqual([]);
  expect(diagnosis).toMatchObject({ code: 0, ok: true });
  // The server of the test run has it off.
  expect(diagnosis.of('durability')).toEqual([expect.objectContaining({ status: 'warn' })]);

  const ran = await pulsebox(['doctor'], { env: { DATABASE_URL: database.url } });
  expect(ran.code).toBe(0);
  expect(ran.stdout).toMatch(/^ok {4}environment {8}all environment variables can be used\n/);
  expect(ran.stdout).toMatch(/\n {25}mend: set fsync = on/);
  expect(ran.stdout).toMatch(/warning.*\n$/);
});

describe('finds what was broken, and its remedy mends it', () => {
  test.each<[string, string, 'warn' | 'fail', string]>([
    ['wake-up-trigger', 'drop trigger wake_readers on outbox.event', 'warn', 'wake_readers is not there'],
    [
      'wake-up-trigger',
      'alter table outbox.event disable trigger wake_readers',
      'warn',
      'wake_readers is disabled',
    ],
    ['log-definition', 'alter sequence outbox.event_seq cache 20', 'fail', 'cache 20'],
    ['log-definition', 'alter sequence outbox.event_seq cycle', 'fail', 'cycle'],
    [
      'log-definition',
      `insert into outbox.event (topic, payload, seq) values ('t', '{}', 1000)`,
      'fail',
      'below the last event at 1000',
    ],
    [
      'log-definition',
      'drop index outbox.event_xid_seq',
      'fail',
      'index on outbox.event (xid, seq) is missing',
    ],
    [
      'partitions',
      'drop table outbox.event_until_20000000, outbox.event_until_30000000',
      'warn',
      'and then nothing can be emitted',
    ],
    ['partitions', 'drop table outbox.event_overflow', 'warn', 'and then nothing can be emitted'],
    [
      'partitions',
      'alter table outbox.event detach partition outbox.event_until_10000000; drop table outbox.event_until_10000000',
      'fail',
      'no partition takes position',
    ],
    [
      'emitter-role',
      'revoke usage on sequence outbox.event_seq from outbox_emitter',
      'fail',
      'lacks privileges that it needs to emit',
    ],
    ['autovacuum', 'alter table outbox.cursor set (autovacuum_enabled = off)', 'warn', 'outbox.cursor'],
    [
      'long-transactions',
      `select pg_create_physical_replication_slot('of_doctor', true)`,
      'warn',
      'the replication slot of_doctor',
    ],
  ])('%s: %s', async (check, breakIt, status, said) => {
    await database.pool.query(breakIt);
    const broken = await examine();
    const finding = broken.of(check).find(({ message }) => message.includes(said));
    expect(finding).toMatchObject({ status });
    const failed = broken.checks.filter((other) => other.status === 'fail');
    expect(failed).toEqual(status === 'fail' ? [finding] : []);
    expect(broken.code).toBe(status === 'fail' ? 1 : 0);
    await database.pool.query(statementsIn(finding?.remedy));
    const mended = (await examine()).of(check);
    expect(mended.filter(({ status, message }) => status !== 'ok' && message.includes(said))).toEqual([]);
  });

  test('long-transactions: a transaction that was prepared and forgotten', async () => {
    const client = await database.pool.connect();
    await client.query(
      `begin; insert into outbox.event (topic, payload) values ('t', '{}'); prepare transaction 'of doctor'`,
    );
    client.release();
    const found = (await examine({}, ['--older-than', '0'])).of('long-transactions');
    const finding = found.find(({ message }) => message.includes('of doctor'));
    expect(finding).toMatchObject({ status: 'warn' });
    await database.pool.query(statementsIn(finding?.remedy));
    expect(
      (await examine({}, ['--older-than', '0']))
        .of('long-transactions')
        .some(({ message }) => message.includes('of doctor')),
    ).toBe(false);
  });
});

describe('finds', () => {
  test('events in the overflow of the log, for which nobody has made partitions', async () => {
    const other = await createTestDatabase(inject('serverUrl'));
    onTestFinished(() => other.drop());
    await other.pool.query(`select setval('outbox.event_seq', 30000010)`);
    const found = (await examine({ DATABASE_URL: other.url })).of('partitions');
    expect(found).toMatchObject([
      { status: 'warn', message: expect.stringContaining('11 events went into the overflow') as string },
    ]);
  });

  test('transactions that are open for longer than asked', async () => {
    const client = await database.pool.connect();
    onTestFinished(() => client.release(true));
    const { rows } = await client
      .query<{ pid: number }>(`begin; select 1`)
      .then(() => client.query(`select pg_backend_pid() as pid`));
    await client.query(`insert into outbox.event (topic, payload) values ('t', '{}')`);
    const found = (await examine({}, ['--older-than', '0'])).of('long-transactions');
    expect(found).toContainEqual(
      expect.objectContaining({
        status: 'warn',
        message: expect.stringMatching(
          new RegExp(`process ${rows[0]?.pid} .*events that it has written wait`),
        ) as string,
        remedy: expect.stringContaining(`pg_terminate_backend(${rows[0]?.pid})`) as string,
      }),
    );
    expect(
      (await examine())
        .of('long-transactions')
        .some(({ message }) => message.includes(`process ${rows[0]?.pid} `)),
    ).toBe(false);
  });

  test('what keeps the oldest partition from being dropped', async () => {
    const other = await createTestDatabase(inject('serverUrl'));
    const url = { DATABASE_URL: other.url, OUTBOX_KEEP_HOURS: '1' };
    const gid = `keeps the log of ${process.pid}`;
    onTestFinished(async () => {
      await other.pool.query(`rollback prepared '${gid}'`).catch(() => undefined);
      await other.drop();
    });
    expect((await examine(url)).of('retention')).toMatchObject([{ status: 'ok' }]);
    await other.pool.query(`begin; select pg_current_xact_id(); prepare transaction '${gid}'`);
    await other.pool.query(`select setval('outbox.event_seq', 10000000)`);
    await other.pool.query(`select outbox.seal_partitions()`);
    await other.pool.query(`update outbox.sealed_partition set sealed_at = sealed_at - interval '3 hours'`);
    const kept = (await examine(url)).of('retention');
    const finding = kept.find(({ message }) => message.includes(gid));
    expect(finding).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('outbox.event_until_10000000 cannot be dropped') as string,
    });
    await other.pool.query(statementsIn(finding?.remedy));
    const after = (await examine(url)).of('retention');
    expect(after.some(({ message }) => message.includes(gid))).toBe(false);
    expect(after[0]?.status).toBe('warn');
  });

  test('that transactions can be prepared, which an insert that notifies prevents', async () => {
    const on = (await examine()).of('notifications');
    expect(on).toMatchObject([
      { status: 'ok' },
      { status: 'warn', message: expect.stringContaining('max_prepared_transactions = 4') as string },
    ]);
    const off = (await examine({ OUTBOX_WORKER_LISTEN_NOTIFY: 'false' })).of('notifications');
    expect(off).toMatchObject([{ status: 'ok' }]);
  });

  test('columns of the log whose defaults were altered', async () => {
    await database.pool.query(`alter table outbox.event alter xid set default '1'::xid8`);
    onTestFinished(async () => {
      await database.pool.query(`alter table outbox.event alter xid set default pg_current_xact_id()`);
    });
    const diagnosis = await examine();
    expect(diagnosis.code).toBe(1);
    expect(diagnosis.of('log-definition')[0]?.message).toContain('outbox.event was altered');
  });

  test('a group that is behind and that nobody reads', async () => {
    await registerGroup(database.pool, 'abandoned', 'beginning');
    await emit(database.pool, { topic: 't', payload: {} }, { autocommit: true });
    onTestFinished(async () => {
      await database.pool.query(`delete from outbox.consumer_group`);
    });
    const diagnosis = await examine();
    expect(diagnosis.code).toBe(1);
    expect(diagnosis.of('groups')[0]?.message).toMatch(
      /^nobody reads group abandoned, lane 0: \d+ events? undelivered/,
    );
  });

  test('a group whose reader stores nothing, though there is something to deliver', async () => {
    await registerGroup(database.pool, 'stuck', 'beginning');
    await emit(database.pool, { topic: 't', payload: {} }, { autocommit: true });
    await database.pool.query(
      `insert into pulsebox.lease (name, token, holder, expires_at)
       values ('outbox/stuck/0', 1, 'pod/1/a', now() + interval '1 hour');
       update outbox.cursor set stored_at = now() - interval '1 minute' where group_name = 'stuck';
       update outbox.event set created_at = now() - interval '1 minute'`,
    );
    onTestFinished(async () => {
      await database.pool.query(
        `delete from outbox.consumer_group; delete from pulsebox.lease; delete from outbox.cursor`,
      );
    });
    expect((await examineHere()).of('groups')).toEqual([
      expect.objectContaining({
        status: 'warn',
        message: expect.stringMatching(
          /^group stuck, lane 0 stands still: \d+ events? undelivered/,
        ) as string,
      }),
    ]);
  });

  test('mailboxes whose key is not there, or is no longer the first, or that were revoked', async () => {
    const [old, next] = [randomBytes(32), randomBytes(32)].map((key) => key.toString('hex')) as [
      string,
      string,
    ];
    const vault = createTokenVault(parseKeyring(old));
    const id = parseKeyring(old).active.id;
    await database.pool.query(
      `insert into app.mail_connections (user_id, org_id, email, refresh_token, state)
       values ('ada', 'acme', 'ada@example.com', $1, 'active'), ('bob', 'acme', 'bob@example.com', $1, 'revoked')`,
      [vault.seal('token', { connectionId: randomUUID(), column: 'refresh_token' })],
    );
    onTestFinished(async () => {
      await database.pool.query('delete from app.mail_connections');
    });
    const revoked = {
      status: 'warn',
      message: expect.stringMatching(/^1 mailbox can be read no longer/) as string,
    };
    const gone = await examineHere({ ENCRYPTION_KEY: next });
    expect(gone.code).toBe(1);
    expect(gone.of('mail')).toMatchObject([
      {
        status: 'fail',
        message: `the grants of 1 mailbox are encrypted under the key ${id}, which is not in ENCRYPTION_KEY`,
      },
      revoked,
    ]);
    expect((await examineHere({ ENCRYPTION_KEY: `${next},${old}` })).of('mail')).toMatchObject([
      { status: 'warn', remedy: expect.stringContaining('pulsebox mail rotate-keys') as string },
      revoked,
    ]);
    expect((await examineHere({ ENCRYPTION_KEY: old })).of('mail')).toMatchObject([revoked]);
    expect((await examineHere()).of('mail')[0]).toMatchObject({ status: 'skip' });
  });

  test('messages from Pub/Sub that nobody has looked at', async () => {
    expect((await examineHere()).of('pubsub')).toMatchObject([{ status: 'ok' }]);
    await database.pool.query(
      `insert into pubsub.dead_letter (subscription, message_id, published_at, reason, data)
       values ('mail', '1', now(), 'no JSON', '')`,
    );
    onTestFinished(async () => {
      await database.pool.query('delete from pubsub.dead_letter');
    });
    expect((await examineHere()).of('pubsub')).toMatchObject([
      { status: 'warn', message: '1 message from Pub/Sub could not be understood' },
    ]);
  });

  test('agent runtimes that nobody keeps, that are in error, and a cluster that does not answer', async () => {
    expect((await examineHere()).of('agent-runtimes')).toMatchObject([{ status: 'ok' }]);
    await database.pool.query(
      `insert into app.agent_runtimes (user_id, org_id, name, state, reason)
       values ('ada', 'acme', 'a', 'error', 'the image cannot be pulled'), ('bob', 'acme', 'b', 'starting', 'waits')`,
    );
    onTestFinished(async () => {
      await database.pool.query('delete from app.agent_runtimes');
    });
    const off = await examineHere();
    expect(off.code).toBe(1);
    expect(off.of('agent-runtimes').map(({ status, message }) => `${status} ${message}`)).toEqual([
      'fail nobody looks after 2 agent runtimes: nothing is started, stopped or reaped',
      'warn 1 agent runtime could not be started or kept',
      'warn 1 agent runtime cannot start: all places are taken',
      'skip the cluster of 2 runtimes was not asked: OPENCLAW_RUNTIME is off here',
    ]);
    const kube = await startKubernetesStandIn();
    onTestFinished(() => kube.close());
    const env = {
      OPENCLAW_RUNTIME: 'k8s',
      OPENCLAW_IMAGE: 'registry.example/agent:1',
      OPENCLAW_K8S_NAMESPACE: 'agents',
      OPENCLAW_K8S_KUBECONFIG: kube.kubeconfig,
    };
    expect((await examineHere(env)).of('agent-runtimes').at(-1)).toMatchObject({
      status: 'ok',
      message: expect.stringMatching(
        /^the cluster answers; 2 agent runtimes; \d+ steps? to be taken/,
      ) as string,
    });
    await kube.close();
    expect((await examineHere(env)).of('agent-runtimes').at(-1)?.status).toBe('fail');
    const { OPENCLAW_IMAGE: _missing, ...withoutImage } = env;
    const faulty = await examineHere(withoutImage);
    expect(faulty.of('environment')[0]?.message).toContain('expected OPENCLAW_IMAGE to be set');
    expect(faulty.of('agent-runtimes')).toMatchObject([{ status: 'skip' }]);
  });

  test('a role that may not do what a worker does', async () => {
    const role = `of_doctor_${process.pid}`;
    await database.pool.query(
      `create role ${role} login password 'x'; grant usage on schema outbox to ${role}`,
    );
    onTestFinished(async () => {
      await database.pool.query(`drop owned by ${role}; drop role ${role}`);
    });
    const url = Object.assign(new URL(database.url), { username: role, password: 'x' }).href;
    const refused = await examine({ DATABASE_URL: url });
    expect(refused.code).toBe(1);
    expect(refused.of('privileges')[0]?.message).toContain(
      `the role ${role} lacks what a worker needs: usage on schema pulsebox`,
    );
    expect(refused.of('long-transactions').at(-1)?.message).toContain(
      'does not see what other roles have open',
    );

    await database.pool.query(
      `grant usage on schema pulsebox to ${role}; grant usage on schema search to ${role};
       grant all on all tables in schema pulsebox, outbox, search to ${role};
       grant all on all sequences in schema outbox, search to ${role}`,
    );
    expect((await examine({ DATABASE_URL: url })).of('privileges')).toEqual([
      expect.objectContaining({
        status: 'warn',
        message: expect.stringContaining('cannot make partitions') as string,
      }),
    ]);
  });

  test('a notification that does not arrive', async () => {
    // LISTEN in another database hears nothing of this one, just as through a pooler in transaction mode.
    const diagnosis = await examine({ DATABASE_DIRECT_URL: inject('serverUrl') });
    expect(diagnosis.of('notifications')[0]).toMatchObject({
      status: 'fail',
      message: expect.stringContaining('did not arrive within 2 s') as string,
    });
    const unreachable = await examine({ DATABASE_DIRECT_URL: 'postgres://a:b@127.0.0.1:1/x' });
    expect(unreachable.of('notifications')[0]?.message).toContain('no connection for LISTEN');
    const off = await examine({
      DATABASE_DIRECT_URL: inject('serverUrl'),
      OUTBOX_WORKER_LISTEN_NOTIFY: 'false',
    });
    expect(off.of('notifications')).toEqual([expect.objectContaining({ status: 'ok' })]);
  });

  test('a channel that is another in the environment than in the database', async () => {
    expect((await examine({ OUTBOX_NOTIFY_CHANNEL: 'other' })).of('notifications')[0]).toMatchObject({
      status: 'warn',
      message: 'OUTBOX_NOTIFY_CHANNEL is other, but the database says outbox_event, which is what counts',
    });
  });

  test('every variable that cannot be used', async () => {
    const diagnosis = await examine({
      LOG_LEVEL: 'loud',
      OUTBOX_WORKER_POLL_SECONDS: 'fast',
      MEILI_BATCH_SIZE: '0',
    });
    expect(diagnosis.code).toBe(1);
    expect(
      diagnosis
        .of('environment')
        .map(({ message }) => message)
        .toSorted(),
    ).toEqual([
      expect.stringContaining('expected LOG_LEVEL to be one of'),
      expect.stringContaining('expected MEILI_BATCH_SIZE to be'),
      expect.stringContaining('expected OUTBOX_WORKER_POLL_SECONDS to be a positive number, got "fast"'),
    ]);
  });

  test('a search engine that refuses the key, or is away', async () => {
    const meilisearch = await startMeilisearchStandIn({ apiKey: 'good-key' });
    onTestFinished(() => meilisearch.close());
    const env = { MEILI_URL: meilisearch.url, MEILI_API_KEY: 'good-key' };
    expect((await examine(env)).of('search-engine')).toEqual([
      expect.objectContaining({ status: 'ok', message: expect.stringMatching(/^Meilisearch \d/) as string }),
    ]);
    const denied = await examine({ ...env, MEILI_API_KEY: 'bad-key' });
    expect(denied).toMatchObject({ code: 1 });
    expect(denied.of('search-engine')[0]?.status).toBe('fail');
    expect(JSON.stringify(denied.checks)).not.toContain('bad-key');
    expect((await examine({ MEILI_URL: 'http://127.0.0.1:1' })).of('search-engine')[0]?.status).toBe('fail');
  });

  test('a view of a projection that is not there, and a file of projections that is faulty', async () => {
    await database.pool.query(`alter view search.file_documents rename to elsewhere`);
    onTestFinished(async () => {
      await database.pool.query(`alter view search.elsewhere rename to file_documents`);
    });
    expect((await examine()).of('projections')[0]?.message).toContain(
      'expected a view search.file_documents, found none',
    );
    expect(
      (await examine({ PULSEBOX_PROJECTIONS: '/no/such/file' })).of('projections')[0]?.message,
    ).toContain('cannot be read');
  });

  test('a worker that is stuck, and one that is off', async () => {
    const sidecar = createServer((_request, response) => {
      const checks = { search: { status: 'stuck' }, housekeeping: { status: 'ok' } };
      response
        .writeHead(503, { 'content-type': 'application/json' })
        .end(JSON.stringify({ status: 'stuck', worker: 'worker', checks }));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => sidecar.once('listening', resolve));
    onTestFinished(() => void sidecar.close());
    const { port } = sidecar.address() as AddressInfo;
    expect((await examine({ WORKER_HEALTH_PORT: String(port) })).of('workers')).toEqual([
      expect.objectContaining({ status: 'fail', message: 'worker is stuck, search is stuck' }),
    ]);
    expect((await examine({ WORKER_HEALTH_PORT: '1' })).of('workers')[0]?.message).toContain(
      'does not answer',
    );
  });

  test('migrations that are pending, and skips what needs their tables', async () => {
    const empty = await createTestDatabase(inject('serverUrl'), { migrated: false });
    onTestFinished(() => empty.drop());
    const diagnosis = await examine({ DATABASE_URL: empty.url });
    expect(diagnosis.code).toBe(1);
    expect(diagnosis.of('migrations')[0]).toMatchObject({ status: 'fail', remedy: 'run `pulsebox migrate`' });
    expect(diagnosis.checks.filter(({ status }) => status === 'fail')).toHaveLength(1);
    expect(diagnosis.of('partitions')).toEqual([expect.objectContaining({ status: 'skip' })]);
  });

  test('a migration that was edited after it was applied', async () => {
    await database.pool.query(`update pulsebox.migration set checksum = checksum || '!'`);
    onTestFinished(async () => {
      await database.pool.query(`update pulsebox.migration set checksum = rtrim(checksum, '!')`);
    });
    expect((await examine()).of('migrations')[0]?.message).toContain('was edited after it was applied');
  });

  test('a database that is away or refuses, and still asks the workers', async () => {
    const away = await examine({ DATABASE_URL: 'postgres://a:b@127.0.0.1:1/x', WORKER_HEALTH_PORT: '1' });
    expect(away.code).toBe(1);
    expect(away.of('database')).toEqual([
      {
        check: 'database',
        status: 'fail',
        message: '127.0.0.1:1/x: nothing listens there',
        remedy: expect.any(String) as string,
      },
    ]);
    expect(away.of('partitions')[0]?.status).toBe('skip');
    expect(away.of('workers')[0]?.status).toBe('fail');
    const wrong = await examine({
      DATABASE_URL: Object.assign(new URL(database.url), { password: 'wrong' }).href,
    });
    expect(wrong.of('database')[0]?.message).toContain('the password is wrong');
  });

  test('that no database is named at all', async () => {
    const ran = await pulsebox(['doctor', '--json']);
    expect(ran.code).toBe(1);
    const { checks } = ran.json<{ checks: Finding[] }>();
    expect(checks.find(({ check }) => check === 'database')).toMatchObject({
      status: 'fail',
      remedy: expect.stringContaining('DATABASE_URL') as string,
    });
  });
});
