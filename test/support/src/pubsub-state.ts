// What the stand-in for Pub/Sub remembers: topics, subscriptions, and who has which message on lease until when.

export interface StoredMessage {
  readonly messageId: string;
  readonly data: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
  readonly orderingKey: string;
  readonly publishTime: Date;
}

export interface Delivery {
  readonly ackId: string;
  readonly message: StoredMessage;
  readonly deliveryAttempt: number;
}

interface Held {
  readonly message: StoredMessage;
  attempts: number;
  ackId: string | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** Where a subscription sends what is due. */
export interface Outlet {
  /** How many more it takes. */
  room(): number;
  send(deliveries: readonly Delivery[]): void;
}

export class StandInSubscription {
  readonly name: string;
  readonly topic: string;
  readonly ordered: boolean;
  /** Every message that was sent, also each time again. */
  readonly deliveries: Delivery[] = [];
  readonly acknowledged: string[] = [];
  ackDeadlineSeconds = 10;
  private readonly held: Held[] = [];
  private readonly outlets = new Set<Outlet>();
  private ackIds = 0;

  constructor(name: string, topic: string, ordered: boolean) {
    this.name = name;
    this.topic = topic;
    this.ordered = ordered;
  }

  /** Not acknowledged, on lease or not. */
  get backlog(): number {
    return this.held.length;
  }

  get onLease(): number {
    return this.held.filter(({ ackId }) => ackId !== undefined).length;
  }

  take(message: StoredMessage): void {
    this.held.push({ message, attempts: 0, ackId: undefined, timer: undefined });
    this.deliverDue();
  }

  attach(outlet: Outlet): void {
    this.outlets.add(outlet);
    this.deliverDue();
  }

  detach(outlet: Outlet): void {
    this.outlets.delete(outlet);
  }

  acknowledge(ackIds: readonly string[]): void {
    for (const ackId of ackIds) {
      const index = this.held.findIndex((held) => held.ackId === ackId);
      const [held] = index === -1 ? [] : this.held.splice(index, 1);
      if (held === undefined) continue;
      clearTimeout(held.timer);
      this.acknowledged.push(held.message.messageId);
    }
    this.deliverDue();
  }

  /** Zero gives the message back, for whoever is next. */
  extend(ackIds: readonly string[], seconds: number): void {
    for (const ackId of ackIds) {
      const held = this.held.find((candidate) => candidate.ackId === ackId);
      if (held === undefined) continue;
      clearTimeout(held.timer);
      if (seconds === 0) held.ackId = undefined;
      else held.timer = this.expiry(held, seconds);
    }
    this.deliverDue();
  }

  stop(): void {
    for (const { timer } of this.held) clearTimeout(timer);
  }

  deliverDue(): void {
    for (const outlet of this.outlets) {
      const room = outlet.room();
      const due = room <= 0 ? [] : this.due().slice(0, room);
      if (due.length === 0) continue;
      const deliveries = due.map((held) => this.lease(held));
      this.deliveries.push(...deliveries);
      outlet.send(deliveries);
    }
  }

  /** With ordering, of a key only what has nothing unacknowledged before it. */
  private due(): Held[] {
    const busy = new Set<string>();
    return this.held.filter((held) => {
      const key = held.message.orderingKey;
      if (!this.ordered || key === '') return held.ackId === undefined;
      const free = !busy.has(key);
      busy.add(key);
      return free && held.ackId === undefined;
    });
  }

  private lease(held: Held): Delivery {
    this.ackIds += 1;
    const ackId = `${this.name}#${this.ackIds}`;
    held.ackId = ackId;
    held.attempts += 1;
    held.timer = this.expiry(held, this.ackDeadlineSeconds);
    return { ackId, message: held.message, deliveryAttempt: held.attempts };
  }

  private expiry(held: Held, seconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      held.ackId = undefined;
      this.deliverDue();
    }, seconds * 1_000).unref();
  }
}
