// The VAPID keys of `npm start`: made once and kept, so that browsers which subscribed stay subscribed.

import { readFile, writeFile } from 'node:fs/promises';
import { generateVapidKeys } from '@pulsebox/push';
import { checkout } from './checkout.ts';

/** No service reads mail sent there; who goes public sets VAPID_SUBJECT, and keys of their own. */
const SUBJECT = 'mailto:developer@pulsebox.example';

/** What the workers' environment lacks of VAPID_PUBLIC_KEY, VAPID_PRIVATE_KEY and VAPID_SUBJECT. */
export async function vapidEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Readonly<Record<string, string>>> {
  const isSet = (name: string): boolean => (env[name]?.trim() ?? '') !== '';
  const subject: Record<string, string> = isSet('VAPID_SUBJECT') ? {} : { VAPID_SUBJECT: SUBJECT };
  // Keys of the user's own, or one of them: the worker says what is missing.
  if (isSet('VAPID_PUBLIC_KEY') || isSet('VAPID_PRIVATE_KEY')) return subject;
  const { publicKey, privateKey } = await keptOrMadeKeys();
  return { ...subject, VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: privateKey };
}

async function keptOrMadeKeys(): Promise<ReturnType<typeof generateVapidKeys>> {
  const kept = await readFile(checkout.vapidKeys, 'utf8').catch(() => undefined);
  if (kept !== undefined) return JSON.parse(kept) as ReturnType<typeof generateVapidKeys>;
  const made = generateVapidKeys();
  await writeFile(checkout.vapidKeys, `${JSON.stringify(made, undefined, 2)}\n`, { mode: 0o600 });
  return made;
}
