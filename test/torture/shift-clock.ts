// Loaded into a worker before anything else (`--import`): its wall clock is wrong from the start, and jumps when the
// run says so. Only Date: what NTP, an operator or a resumed virtual machine can move. The monotonic clock, which
// performance.now() and timers go by, is moved by nobody, and the database's own clock is out of a worker's reach.

const TrueDate = Date;
let offsetMs = Number(process.env['TORTURE_CLOCK_OFFSET_MS'] ?? 0);

const now = (): number => TrueDate.now() + offsetMs;

globalThis.Date = new Proxy(TrueDate, {
  construct: (target, given: ConstructorParameters<typeof Date> | [], newTarget) =>
    Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget) as Date,
  apply: () => new TrueDate(now()).toString(),
  get: (target, property, receiver) =>
    property === 'now' ? now : (Reflect.get(target, property, receiver) as unknown),
});

process.on('message', (message: { readonly clockOffsetMs?: number }) => {
  offsetMs = message.clockOffsetMs ?? offsetMs;
});
