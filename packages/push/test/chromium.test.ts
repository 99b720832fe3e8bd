// What a real browser makes of what we send. The push service between us and it is on the internet, so it is left out:
// the encrypted body is carried to the page by hand and read with the browser's own cryptography, and a message is given
// to the service worker through the DevTools protocol, which is where the push service would have given it.

import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createMessage, createPushSender, generateVapidKeys } from '@pulsebox/push';
import { createCertificate, eventually } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { chromium, startChromium } from './chromium.ts';
import type { Browser, Target } from './chromium.ts';
import { decryptInBrowser, keysInBrowser } from './decrypt-in-browser.ts';

const keys = generateVapidKeys();
const vapid = { ...keys, subject: 'mailto:push@pulsebox.example' };

function browserFile(name: string): string {
  return readFileSync(new URL(`../browser/${name}`, import.meta.url), 'utf8');
}

/** A site with the files that we ship, and what it was told. */
async function startSite(): Promise<{ origin: string; stored: unknown[]; close(): Promise<void> }> {
  const stored: unknown[] = [];
  const files = new Set(['/service-worker.js', '/subscribe.js']);
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    if (request.method === 'POST') {
      let body = '';
      request.on('data', (chunk) => (body += String(chunk)));
      request.on('end', () => {
        stored.push(JSON.parse(body));
        response.writeHead(201).end();
      });
      return;
    }
    const isFile = files.has(path);
    response.writeHead(200, { 'content-type': isFile ? 'text/javascript' : 'text/html' });
    response.end(isFile ? browserFile(path.slice(1)) : '<!doctype html><title>Site</title>');
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    // A page of this host may have service workers without TLS.
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    stored,
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a push service gets from us, byte for byte. */
async function sentBody(browser: { p256dh: string; auth: string }, title: string): Promise<Buffer> {
  const { certificate, key } = createCertificate();
  const bodies: Buffer[] = [];
  const server = createSecureServer({ cert: certificate, key }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      bodies.push(Buffer.concat(chunks));
      response.writeHead(201).end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const origin = `https://localhost:${(server.address() as AddressInfo).port}`;
  const sender = createPushSender({ vapid, ca: certificate, privateOrigins: [origin] });
  const { signal } = new AbortController();
  const message = createMessage({ title });
  const outcome = await sender.send({ endpoint: `${origin}/x`, ...browser }, message, { signal });
  await sender.close();
  await new Promise((resolve) => server.close(resolve));
  expect(outcome.kind).toBe('sent');
  return bodies[0] ?? Buffer.alloc(0);
}

describe.skipIf(chromium === undefined)('in Chromium (skipped where there is none on the PATH)', () => {
  let browser: Browser;
  let site: Awaited<ReturnType<typeof startSite>>;
  let page: Target;
  let worker: Target;
  let registrationId: string;

  beforeAll(async () => {
    site = await startSite();
    browser = await startChromium(chromium ?? '');
    await browser.allowNotifications(site.origin);
    page = await browser.open(`${site.origin}/`);
    await eventually(async () => (await page.evaluate('document.title')) === 'Site');
    await page.send('ServiceWorker.enable');
    const activated = page.next('ServiceWorker.workerVersionUpdated', ({ versions }) =>
      (versions as { status: string }[]).some(({ status }) => status === 'activated'),
    );
    await page.evaluate(`navigator.serviceWorker.register('/service-worker.js').then(() => undefined)`);
    const { versions } = (await activated) as { versions: { registrationId: string; status: string }[] };
    registrationId = versions.find(({ status }) => status === 'activated')?.registrationId ?? '';
    worker = await browser.worker(`${site.origin}/service-worker.js`);
    // Whoever asks for notifications while one is being put up makes Chromium lose it: we ask when it is up.
    await worker.evaluate(
      `self.shows = 0;
       self.really = ServiceWorkerRegistration.prototype.showNotification;
       ServiceWorkerRegistration.prototype.showNotification = async function (...given) {
         await self.really.apply(this, given);
         self.shows += 1;
       }; undefined`,
    );
  });
  afterAll(async () => {
    await browser.close();
    await site.close();
  });

  /** Resolves when the service worker has shown something. */
  async function push(data: string): Promise<void> {
    const before = Number(await worker.evaluate('self.shows'));
    await page.send('ServiceWorker.deliverPushMessage', { origin: site.origin, registrationId, data });
    await eventually(async () => Number(await worker.evaluate('self.shows')) > before);
  }

  interface Shown {
    readonly title: string;
    readonly body: string;
    readonly tag: string;
    readonly data: unknown;
  }

  async function shown(): Promise<Shown[]> {
    return (await page.evaluate(
      `navigator.serviceWorker.ready
         .then((registration) => registration.getNotifications())
         .then((all) => all.map(({ title, body, tag, data }) => ({ title, body, tag, data })))`,
    )) as Shown[];
  }

  async function clear(): Promise<void> {
    await page.evaluate(
      `navigator.serviceWorker.ready
         .then((registration) => registration.getNotifications())
         .then((all) => all.forEach((one) => one.close()))`,
    );
    await eventually(async () => (await shown()).length === 0);
  }

  test('its own cryptography reads what we send, with keys that it has made', async () => {
    const subscription = await keysInBrowser(page);
    const title = 'Grüße, 世界 🎉';
    const body = await sentBody(subscription, title);
    expect(await decryptInBrowser(page, body)).toBe(JSON.stringify({ title }));
    // A single flipped bit is no message any more.
    body[body.length - 1] = (body.at(-1) ?? 0) ^ 1;
    await expect(decryptInBrowser(page, body)).rejects.toThrow('OperationError');
  });

  test('the service worker shows a message with all that it has', async () => {
    onTestFinished(clear);
    const { plaintext } = createMessage({
      title: 'Anna replied',
      body: 'See you at eight',
      url: '/threads/7',
      tag: 'thread-7',
      data: { id: 7 },
    });
    await push(plaintext);
    await eventually(async () => (await shown()).length === 1);
    expect(await shown()).toEqual([
      {
        title: 'Anna replied',
        body: 'See you at eight',
        tag: 'thread-7',
        data: { url: '/threads/7', data: { id: 7 } },
      },
    ]);
    // A later one of the same tag takes its place.
    await push(createMessage({ title: 'Anna replied again', tag: 'thread-7' }).plaintext);
    await eventually(async () => (await shown())[0]?.title === 'Anna replied again');
    expect(await shown()).toHaveLength(1);
  });

  test.each([
    ['{"body":"no title"}', { title: 'News for you', body: 'no title' }],
    ['not JSON at all', { title: 'News for you', body: 'not JSON at all' }],
    ['', { title: 'News for you', body: '' }],
    ['{"title":"__proto__","data":{"__proto__":{"x":1}}}', { title: '__proto__' }],
  ])('of %j it shows something, as browsers demand', async (data, expected) => {
    onTestFinished(clear);
    await push(data);
    await eventually(async () => (await shown()).length === 1);
    expect((await shown())[0]).toMatchObject(expected);
  });

  test.each([
    ['/threads/7', ['opens SITE/threads/7']],
    // That page is open already.
    ['/', ['shows SITE/']],
    [undefined, ['shows SITE/']],
    ['https://elsewhere.example/x', ['opens https://elsewhere.example/x']],
    ['javascript:alert(1)', []],
    ['https://[', []],
  ])('of a click on one with the url %j comes %j', async (url, leads) => {
    onTestFinished(clear);
    // Only a real click may open a window: what is called is looked at in its place.
    await worker.evaluate(
      `self.led = [];
       Clients.prototype.openWindow = async (href) => void self.led.push('opens ' + href);
       WindowClient.prototype.focus = async function () { self.led.push('shows ' + this.url) }; undefined`,
    );
    await push(createMessage({ title: 'Click', ...(url === undefined ? {} : { url }) }).plaintext);
    await eventually(async () => (await shown()).length === 1);
    const led = await worker.evaluate(
      `(async () => {
         const [notification] = await self.registration.getNotifications();
         const event = new NotificationEvent('notificationclick', { notification });
         const done = [];
         event.waitUntil = (promise) => void done.push(promise);
         self.dispatchEvent(event);
         await Promise.all(done);
         return self.led;
       })()`,
    );
    expect(led).toEqual(leads.map((lead) => lead.replace('SITE', site.origin)));
    await eventually(async () => (await shown()).length === 0);
  });

  test('a subscription that the browser has replaced is handed to the application', async () => {
    site.stored.length = 0;
    await worker.evaluate(
      `self.dispatchEvent(Object.assign(new ExtendableEvent('pushsubscriptionchange'), {
         newSubscription: { endpoint: 'https://push.example/new', keys: {} },
       })); undefined`,
    );
    await eventually(() => site.stored.length === 1);
    expect(site.stored).toEqual([{ endpoint: 'https://push.example/new', keys: {} }]);
  });

  const subscribing = (publicKey: string): string =>
    `import('/subscribe.js').then(({ subscribe }) => subscribe({ publicKey: ${JSON.stringify(publicKey)} }))`;

  test('it takes the key that we make, and no other text, and gets as far as its push service', async () => {
    // Without the internet the push service may never answer; a key that is none is refused before it is asked.
    const faultOf = async (publicKey: string): Promise<unknown> =>
      await page.evaluate(
        `Promise.race([
           ${subscribing(publicKey)}.then(() => 'subscribed', ({ name }) => name),
           new Promise((resolve) => setTimeout(resolve, 3_000, 'asked')),
         ])`,
      );
    expect(await faultOf('AAAA')).toBe('InvalidAccessError');
    expect(['asked', 'AbortError', 'subscribed']).toContain(await faultOf(keys.publicKey));
  });

  test('the page hands its subscription to the application, and makes a new one when the key is another', async () => {
    site.stored.length = 0;
    // In the place of the push service.
    const fake = (key: string): string => `
      self.unsubscribed = 0;
      PushManager.prototype.getSubscription = async () => ({
        options: { applicationServerKey: Uint8Array.from(${JSON.stringify([...Buffer.from(key, 'base64url')])}).buffer },
        unsubscribe: async () => void (self.unsubscribed += 1),
      });
      PushManager.prototype.subscribe = async (options) => ({ endpoint: 'https://push.example/1', asked: options });
      undefined`;
    await page.evaluate(fake(keys.publicKey));
    expect(await page.evaluate(subscribing(keys.publicKey))).toBe(true);
    expect(await page.evaluate('self.unsubscribed')).toBe(0);
    await page.evaluate(fake(generateVapidKeys().publicKey));
    expect(await page.evaluate(subscribing(keys.publicKey))).toBe(true);
    expect(await page.evaluate('self.unsubscribed')).toBe(1);
    const asked = { userVisibleOnly: true, applicationServerKey: keys.publicKey };
    expect(site.stored).toEqual([
      { endpoint: 'https://push.example/1', asked },
      { endpoint: 'https://push.example/1', asked },
    ]);
  });
});
