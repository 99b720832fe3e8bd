// What a page does to be notified: call `subscribe` when the user has pressed a button that says so (browsers answer
// for the user otherwise), and at every visit of a user who has agreed: it costs a request, and mends what was lost.

/**
 * @param {object} options
 * @param {string} options.publicKey VAPID_PUBLIC_KEY, as `pulsebox vapid` has printed it
 * @param {string} [options.serviceWorker] its address, at the root of what it is to serve
 * @param {string} [options.subscriptions] where the application takes PushSubscription.toJSON()
 * @returns {Promise<boolean>} false: the user does not want to be notified
 */
export async function subscribe({
  publicKey,
  serviceWorker = '/service-worker.js',
  subscriptions = '/push-subscriptions',
}) {
  if ((await Notification.requestPermission()) !== 'granted') return false;
  await navigator.serviceWorker.register(serviceWorker);
  const { pushManager } = await navigator.serviceWorker.ready;
  const known = await pushManager.getSubscription();
  // One that was made with another key can be sent to by nobody any more.
  if (known && keyOf(known) !== publicKey) await known.unsubscribe();
  // With the same key this is the subscription that there is already.
  const subscription = await pushManager.subscribe({
    userVisibleOnly: true,
    applicationServerKey: publicKey,
  });
  const response = await fetch(subscriptions, {
    method: 'POST',
    credentials: 'include',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(subscription),
  });
  if (!response.ok) throw new Error(`the subscription was not stored: ${response.status}`);
  return true;
}

function keyOf({ options: { applicationServerKey } }) {
  const bytes = String.fromCharCode(...new Uint8Array(applicationServerKey ?? new ArrayBuffer(0)));
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
