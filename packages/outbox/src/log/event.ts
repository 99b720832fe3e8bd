// An event as handlers get it: one immutable row of the log.

/** What JSON can hold. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined };

export interface OutboxEvent<Payload = JsonValue> {
  /** Its place in the log. Grows, with gaps; never used twice. A number is exact up to 2^53. */
  readonly position: number;
  /** For instance `item.upserted`. */
  readonly topic: string;
  /** What order is kept for, for instance `item:42`. */
  readonly key: string | null;
  readonly payload: Payload;
  readonly headers: Readonly<Record<string, JsonValue>>;
  /** When the row was written, on the database's clock. Its transaction committed later. */
  readonly createdAt: Date;
}
