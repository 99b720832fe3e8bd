// A mailbox of the Gmail stand-in: its messages, and the history of what happened to them.

import { randomBytes } from 'node:crypto';

export interface GivenMail {
  readonly subject?: string;
  readonly from?: string;
  readonly to?: string;
  readonly text?: string;
  readonly html?: string;
  /** Default `INBOX` and `UNREAD`. */
  readonly labels?: readonly string[];
  /** When it was received. Default now. */
  readonly date?: Date;
  /** Overrides fields of what the API answers for it. */
  readonly raw?: Readonly<Record<string, unknown>>;
}

export interface HistoryRecord {
  readonly id: bigint;
  readonly messagesAdded?: readonly unknown[];
  readonly messagesDeleted?: readonly unknown[];
  readonly labelsAdded?: readonly unknown[];
  readonly labelsRemoved?: readonly unknown[];
}

interface StandInMail extends Required<Omit<GivenMail, 'html' | 'raw' | 'labels'>> {
  readonly id: string;
  readonly threadId: string;
  readonly html: string | undefined;
  readonly raw: Readonly<Record<string, unknown>>;
  labels: Set<string>;
  deleted: boolean;
}

export interface GmailNotification {
  readonly emailAddress: string;
  readonly historyId: bigint;
}

export interface GmailStandInMailbox {
  readonly email: string;
  /** The present refresh token; `revoke` makes it worthless. */
  readonly refreshToken: string;
  readonly historyId: bigint;
  /** Puts a message into the mailbox and returns its id. */
  deliver(mail?: GivenMail): string;
  /** Many at once, quickly, without a history: they were there before. */
  fill(count: number, mail?: (n: number) => GivenMail): void;
  label(id: string, labels: { readonly add?: readonly string[]; readonly remove?: readonly string[] }): void;
  remove(id: string): void;
  /** Keeps no history up to now: whoever asks from before gets 404. */
  forgetHistory(): void;
  /** Page tokens that were handed out are taken no longer. */
  expirePages(): void;
  /** Access tokens that were handed out are taken no longer. */
  expireAccessTokens(): void;
  /** The user takes the grant back. */
  revoke(): void;
  /** Registered watches, in order. */
  readonly watches: readonly { readonly topicName: string; readonly expiration: number }[];
}

const FIRST_HISTORY_ID = 1_000n;
const WEEK_MS = 7 * 24 * 3_600_000;

/** What the routes use of a mailbox. */
export class MailboxState implements GmailStandInMailbox {
  readonly email: string;
  refreshToken: string = `1//refresh-${randomBytes(12).toString('hex')}`;
  revoked = false;
  historyId: bigint = FIRST_HISTORY_ID;
  readonly watches: { topicName: string; expiration: number }[] = [];
  readonly accessTokens: Set<string> = new Set();
  /** When units were spent, newest last. */
  readonly spent: { readonly at: number; readonly units: number }[] = [];
  pageGeneration = 0;
  readonly #mails: StandInMail[] = [];
  readonly #byId: Map<string, StandInMail> = new Map();
  readonly #onChange: (notification: GmailNotification) => void;
  #history: HistoryRecord[] = [];
  #oldestHistoryId: bigint = FIRST_HISTORY_ID;
  #nextId = 0x1000;

  constructor(email: string, onChange: (notification: GmailNotification) => void) {
    this.email = email;
    this.#onChange = onChange;
  }

  deliver(mail: GivenMail = {}): string {
    const added = this.#add(mail);
    this.#record({ messagesAdded: [{ message: this.#stub(added) }] });
    return added.id;
  }

  fill(count: number, mail: (n: number) => GivenMail = (n): GivenMail => ({ subject: `mail ${n}` })): void {
    for (let n = 0; n < count; n += 1) this.#add(mail(n));
  }

  label(id: string, { add = [], remove = [] }: Parameters<GmailStandInMailbox['label']>[1]): void {
    const mail = this.#get(id);
    for (const label of add) mail.labels.add(label);
    for (const label of remove) mail.labels.delete(label);
    const message = this.#stub(mail);
    this.#record({
      ...(add.length === 0 ? {} : { labelsAdded: [{ message, labelIds: add }] }),
      ...(remove.length === 0 ? {} : { labelsRemoved: [{ message, labelIds: remove }] }),
    });
  }

  remove(id: string): void {
    const mail = this.#get(id);
    mail.deleted = true;
    this.#byId.delete(id);
    this.#record({ messagesDeleted: [{ message: this.#stub(mail) }] });
  }

  forgetHistory(): void {
    this.historyId += 1n;
    this.#history = [];
    this.#oldestHistoryId = this.historyId;
  }

  expirePages(): void {
    this.pageGeneration += 1;
  }

  expireAccessTokens(): void {
    this.accessTokens.clear();
  }

  revoke(): void {
    this.revoked = true;
    this.accessTokens.clear();
  }

  get total(): number {
    return this.#byId.size;
  }

  /** Undefined: so old a history is not kept. */
  historyFrom(startHistoryId: bigint): readonly HistoryRecord[] | undefined {
    if (startHistoryId < this.#oldestHistoryId) return undefined;
    return this.#history.filter((record) => record.id > startHistoryId);
  }

  /** Newest first, from the index on; without spam and trash, as the API lists without being asked for them. */
  list(
    from: number,
    size: number,
  ): { readonly mails: readonly StandInMail[]; readonly next: number | undefined } {
    const mails: StandInMail[] = [];
    let index = from;
    for (; index < this.#mails.length && mails.length < size; index += 1) {
      const mail = this.#mails[this.#mails.length - 1 - index];
      if (mail === undefined || mail.deleted || mail.labels.has('SPAM') || mail.labels.has('TRASH')) continue;
      mails.push(mail);
    }
    return { mails, next: index < this.#mails.length ? index : undefined };
  }

  /** As `messages.get` answers. Undefined: there is none. */
  answerFor(id: string, format: string, headers: readonly string[]): unknown {
    const mail = this.#byId.get(id);
    if (mail === undefined) return undefined;
    const all = [
      { name: 'From', value: mail.from },
      { name: 'To', value: mail.to },
      { name: 'Subject', value: mail.subject },
      { name: 'Date', value: mail.date.toUTCString() },
    ];
    const wanted =
      format === 'metadata' && headers.length > 0 ? all.filter(({ name }) => headers.includes(name)) : all;
    return {
      id: mail.id,
      threadId: mail.threadId,
      labelIds: [...mail.labels],
      snippet: mail.text.slice(0, 100),
      historyId: this.historyId.toString(),
      internalDate: String(mail.date.getTime()),
      sizeEstimate: 1_000 + mail.text.length,
      payload: {
        mimeType: 'multipart/alternative',
        headers: wanted,
        ...(format === 'full' ? { parts: partsOf(mail) } : {}),
      },
      ...mail.raw,
    };
  }

  watch(topicName: string): { topicName: string; expiration: number } {
    const watch = { topicName, expiration: Date.now() + WEEK_MS };
    this.watches.push(watch);
    return watch;
  }

  #add(mail: GivenMail): StandInMail {
    const id = `18c${(this.#nextId++).toString(16).padStart(13, '0')}`;
    const added: StandInMail = {
      id,
      threadId: id,
      subject: mail.subject ?? 'Hello',
      from: mail.from ?? 'Grace Hopper <grace@example.org>',
      to: mail.to ?? this.email,
      text: mail.text ?? 'The text of the mail.',
      html: mail.html,
      labels: new Set(mail.labels ?? ['INBOX', 'UNREAD']),
      date: mail.date ?? new Date(),
      raw: mail.raw ?? {},
      deleted: false,
    };
    this.#mails.push(added);
    this.#byId.set(id, added);
    return added;
  }

  #record(lists: Omit<HistoryRecord, 'id'>): void {
    // Ids grow, and not by one.
    this.historyId += 7n;
    this.#history.push({ id: this.historyId, ...lists });
    this.#onChange({ emailAddress: this.email, historyId: this.historyId });
  }

  #stub(mail: StandInMail): unknown {
    return { id: mail.id, threadId: mail.threadId, labelIds: [...mail.labels] };
  }

  #get(id: string): StandInMail {
    const mail = this.#byId.get(id);
    if (mail === undefined) throw new Error(`the stand-in has no message ${id}`);
    return mail;
  }
}

function partsOf({ text, html }: StandInMail): unknown[] {
  const part = (mimeType: string, body: string): unknown => ({
    mimeType,
    filename: '',
    headers: [{ name: 'Content-Type', value: `${mimeType}; charset="UTF-8"` }],
    body: { size: Buffer.byteLength(body), data: Buffer.from(body).toString('base64url') },
  });
  return html === undefined ? [part('text/plain', text)] : [part('text/html', html)];
}
