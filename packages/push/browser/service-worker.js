// A service worker that shows what Pulsebox sends: copy it to the root of your site, and make it yours.
// It gets the `payload` of the event as it was emitted: { title, body, url, tag, data }, each of them optional.

/** Shown when a message has no title: browsers insist on one. */
const TITLE = 'News for you';

/** Where your application takes PushSubscription.toJSON(), for the user who is logged in. */
const SUBSCRIPTIONS = '/push-subscriptions';

self.addEventListener('push', (event) => {
  // Every push has to show something: a browser takes the permission away from pages that stay silent.
  event.waitUntil(show(read(event.data)));
});

function read(data) {
  try {
    return data?.json() ?? {};
  } catch {
    return { body: data.text() };
  }
}

function show({ title = TITLE, body, tag, url, data } = {}) {
  // A notification of the same tag takes the place of the one before it; `renotify` lets it be heard again.
  const options = { body, data: { url, data }, ...(tag ? { tag, renotify: true } : {}) };
  return self.registration.showNotification(title, options);
}

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.url));
});

/** Brings the page to the front if it is open somewhere, and opens it otherwise. */
async function open(url = '/') {
  const { href, protocol } = URL.parse(url, self.location.origin) ?? {};
  if (protocol !== 'https:' && protocol !== 'http:') return;
  const pages = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const page = pages.find((candidate) => candidate.url === href);
  await (page ? page.focus() : self.clients.openWindow(href));
}

// The browser has replaced the subscription by itself: the application is told of the new one.
self.addEventListener('pushsubscriptionchange', (event) => {
  event.waitUntil(renew(event));
});

async function renew({ newSubscription, oldSubscription }) {
  const subscription =
    newSubscription ?? (await self.registration.pushManager.subscribe(oldSubscription.options));
  await fetch(SUBSCRIPTIONS, {
    method: 'POST',
    credentials: 'include',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(subscription),
  });
}
