// Spans as OTLP writes them, in JSON and in Protocol Buffers, read back without any of the code that wrote them.
// Field numbers are those of opentelemetry/proto/trace/v1/trace.proto.

type Attribute = string | number | boolean;

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: the first of its trace. */
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly failed: boolean;
  /** Of the process that it is of. */
  readonly resource: Readonly<Record<string, Attribute>>;
}

const KINDS = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const STATUS_ERROR = 2;

interface JsonAttribute {
  readonly key: string;
  readonly value: {
    readonly stringValue?: string;
    readonly intValue?: string | number;
    readonly doubleValue?: number;
    readonly boolValue?: boolean;
  };
}

interface JsonSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly JsonAttribute[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status?: { readonly code?: number };
}

interface JsonRequest {
  readonly resourceSpans: readonly {
    readonly resource?: { readonly attributes?: readonly JsonAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly JsonSpan[] }[];
  }[];
}

export function spansOfJson(body: Buffer): CollectedSpan[] {
  const { resourceSpans } = JSON.parse(body.toString()) as JsonRequest;
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const of = attributesOfJson(resource?.attributes);
    return scopeSpans.flatMap(({ spans }) =>
      spans.map(
        (span): CollectedSpan => ({
          traceId: span.traceId,
          spanId: span.spanId,
          parentSpanId: span.parentSpanId === '' ? undefined : span.parentSpanId,
          name: span.name,
          kind: KINDS[span.kind] ?? 'internal',
          startMs: Number(span.startTimeUnixNano) / 1e6,
          endMs: Number(span.endTimeUnixNano) / 1e6,
          attributes: attributesOfJson(span.attributes),
          links: (span.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId })),
          failed: span.status?.code === STATUS_ERROR,
          resource: of,
        }),
      ),
    );
  });
}

function attributesOfJson(attributes: readonly JsonAttribute[] = []): Record<string, Attribute> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ??
        value.boolValue ??
        value.doubleValue ??
        (value.intValue === undefined ? '' : Number(value.intValue)),
    ]),
  );
}

export function spansOfProtobuf(body: Buffer): CollectedSpan[] {
  return messagesOf(body, 1).flatMap((resourceSpans) => {
    const [resource] = messagesOf(resourceSpans, 1);
    const of = resource === undefined ? {} : attributesOf(resource, 1);
    return messagesOf(resourceSpans, 2).flatMap((scopeSpans) =>
      messagesOf(scopeSpans, 2).map((span) => spanOf(span, of)),
    );
  });
}

function spanOf(span: Buffer, resource: CollectedSpan['resource']): CollectedSpan {
  const parentSpanId = hexOf(span, 4);
  const [status] = messagesOf(span, 15);
  return {
    traceId: hexOf(span, 1),
    spanId: hexOf(span, 2),
    parentSpanId: parentSpanId === '' ? undefined : parentSpanId,
    name: textOf(span, 5),
    kind: KINDS[numberOf(span, 6)] ?? 'internal',
    startMs: numberOf(span, 7) / 1e6,
    endMs: numberOf(span, 8) / 1e6,
    attributes: attributesOf(span, 9),
    links: messagesOf(span, 13).map((link) => ({ traceId: hexOf(link, 1), spanId: hexOf(link, 2) })),
    failed: status !== undefined && numberOf(status, 3) === STATUS_ERROR,
    resource,
  };
}

function attributesOf(message: Buffer, field: number): Record<string, Attribute> {
  return Object.fromEntries(
    messagesOf(message, field).map((pair) => [textOf(pair, 1), valueOf(messagesOf(pair, 2)[0])]),
  );
}

function valueOf(value: Buffer | undefined): Attribute {
  const [first] = value === undefined ? [] : fieldsOf(value);
  if (first === undefined) return '';
  if (Buffer.isBuffer(first.value)) {
    return first.field === 4 ? first.value.readDoubleLE() : first.value.toString();
  }
  return first.field === 2 ? first.value === 1n : Number(first.value);
}

interface Field {
  readonly field: number;
  /** Eight bytes of a fixed64 are a buffer as well. */
  readonly value: bigint | Buffer;
}

function messagesOf(message: Buffer, field: number): Buffer[] {
  return fieldsOf(message).flatMap((one) =>
    one.field === field && Buffer.isBuffer(one.value) ? [one.value] : [],
  );
}

function textOf(message: Buffer, field: number): string {
  return messagesOf(message, field)[0]?.toString() ?? '';
}

function hexOf(message: Buffer, field: number): string {
  return messagesOf(message, field)[0]?.toString('hex') ?? '';
}

function numberOf(message: Buffer, field: number): number {
  const found = fieldsOf(message).find((one) => one.field === field)?.value ?? 0n;
  return Number(Buffer.isBuffer(found) ? found.readBigUInt64LE() : found);
}

function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message.readUInt8(at);
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const bytes = (length: number): Buffer => {
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = Number(varint());
    const [field, wire] = [tag >> 3, tag & 7];
    if (wire === 0) fields.push({ field, value: varint() });
    else if (wire === 1) fields.push({ field, value: bytes(8) });
    else if (wire === 2) fields.push({ field, value: bytes(Number(varint())) });
    else if (wire === 5) fields.push({ field, value: bytes(4) });
    else throw new Error(`no wire type of Protocol Buffers: ${wire}`);
  }
  return fields;
}
