// A mailbox is read for the first time: messages a second, beside a plain loop that lists, fetches and inserts.

import { appMigrations } from '@pulsebox/app-schema';
import { gmailMigrations } from '@pulsebox/gmail';
import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { query } from '../harness/bench-server.ts';
import { runJob, startJob } from '../harness/child.ts';
import { count, ms, perSecond, range, ratio } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { GmailInput, GmailSaid } from '../jobs/gmail.ts';
import type { SyncMailboxInput, SyncOutput } from '../jobs/sync-mailbox.ts';
import { CREATE_PLAIN_MESSAGES } from '../jobs/sync-plain.ts';
import type { SyncPlainInput } from '../jobs/sync-plain.ts';

const MESSAGES = 5_000;

const contenders = [
  { name: 'pulsebox', label: 'Pulsebox: stored with their events, a page a transaction', concurrency: 0 },
  { name: 'one', label: 'plain loop, one at a time', concurrency: 1 },
  { name: 'eight', label: 'plain loop, eight at a time', concurrency: 8 },
] as const;

type Contender = (typeof contenders)[number];

interface Measured {
  readonly contender: Contender['name'];
  readonly perSecond: number;
  readonly cpuMsEach: number;
}

export const mail: Scenario = {
  name: 'mail',
  summary: 'a full sync of a mailbox, beside a plain loop that lists, fetches and inserts',
  async run(context): Promise<ScenarioReport> {
    const messages = Math.round(MESSAGES * context.scale);
    const measured: Measured[] = [];
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (const contender of contenders) measured.push(await measure(context, contender, messages));
    }
    const of = (name: Contender['name'], figure: 'perSecond' | 'cpuMsEach'): number[] =>
      measured.filter((run) => run.contender === name).map((run) => run[figure]);
    return {
      title: `Mail: a full sync of ${count(messages)} messages from the Gmail stand-in`,
      goals: [],
      tables: [
        {
          head: ['', 'Pulsebox is', 'messages', 'least - most', 'CPU a message'],
          rows: contenders.map(({ name, label }) => [
            label,
            name === 'pulsebox'
              ? '-'
              : ratio(median(of('pulsebox', 'perSecond')) / median(of(name, 'perSecond'))),
            perSecond(median(of(name, 'perSecond'))),
            range(of(name, 'perSecond'), perSecond),
            ms(median(of(name, 'cpuMsEach'))),
          ]),
        },
      ],
      notes: [
        'Messages of 1.8 kB of text, read whole, eight at a time. Pulsebox writes an event for each and remembers how far it has come; the plain loop inserts a row in a transaction of its own and forgets what it did. The stand-in is one process on the same machine and answers in no time, and its quota is lifted: Google lets a mailbox be read at 50 messages a second (15,000 units a minute, 5 for a message), which is what a real sync comes to.',
      ],
      data: measured,
    };
  },
};

async function measure(
  { server, progress }: ScenarioContext,
  { name, concurrency }: Contender,
  messages: number,
): Promise<Measured> {
  const dbUrl = await server.freshDatabase('bench_mail');
  await migrate({ connectionString: dbUrl }, [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
    gmailMigrations,
  ]);
  await query(dbUrl, CREATE_PLAIN_MESSAGES);
  await server.settle(dbUrl);
  const input: GmailInput = { messages };
  // Anew each time: it remembers every request.
  const gmail = startJob<undefined, GmailSaid>('gmail', input);
  const said = await gmail.ready;
  const ours: SyncMailboxInput = { ...said, dbUrl };
  const plain: SyncPlainInput = { ...said, dbUrl, concurrency };
  const { output } =
    name === 'pulsebox'
      ? await runJob<SyncOutput>('sync-mailbox', ours)
      : await runJob<SyncOutput>('sync-plain', plain);
  await gmail.stop();
  const measured = {
    contender: name,
    perSecond: (messages / output.elapsedMs) * 1_000,
    cpuMsEach: (output.cpuSeconds / messages) * 1_000,
  };
  progress(`${name}: ${perSecond(measured.perSecond)}`);
  return measured;
}
