// Names: the topic of Pub/Sub that is published to, and the topics of the log that are.

import { PubSubError } from './pubsub-error.ts';

const FULL_NAME = /^projects\/([^/]+)\/topics\/([^/]+)$/;
/** Of a topic or subscription, by Google's rules. */
const RESOURCE = /^(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}$/;
const EVENT_TOPIC = /^(?:\*|[A-Za-z0-9][A-Za-z0-9._:-]*\*?)$/;

/**
 * The full name. A name that cannot be is found here: Pub/Sub would refuse every single event for it.
 *
 * @throws PUBSUB_NAME_INVALID
 */
export function checkTopicName(projectId: string, topic: string): string {
  const [, project = projectId, name = topic] = FULL_NAME.exec(topic) ?? [];
  if (RESOURCE.test(name) && /^[a-z][a-z0-9:.-]*$/.test(project)) return `projects/${project}/topics/${name}`;
  throw new PubSubError(
    'PUBSUB_NAME_INVALID',
    `expected a topic of Pub/Sub such as "events" or "projects/acme/topics/events", got "${topic}" in the project "${projectId}"`,
    {
      hint: 'a name starts with a letter, has 3 to 255 letters, digits and - _ . ~ + %, and does not start with "goog"',
    },
  );
}

/**
 * A pattern is a topic, or the beginning of topics with a `*` after it.
 *
 * @throws PUBSUB_NAME_INVALID
 */
export function topicFilter(patterns: readonly string[]): (topic: string) => boolean {
  const bad = patterns.find((pattern) => !EVENT_TOPIC.test(pattern));
  if (bad !== undefined || patterns.length === 0) {
    throw new PubSubError(
      'PUBSUB_NAME_INVALID',
      `expected topics of the log such as "item.upserted", "item.*" or "*", got ${bad === undefined ? 'none' : `"${bad}"`}`,
      {
        hint: 'name the topics that are to be published, with commas between them; a * stands at the end alone',
      },
    );
  }
  const whole = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const beginnings = patterns
    .filter((pattern) => pattern.endsWith('*'))
    .map((pattern) => pattern.slice(0, -1));
  return (topic) => whole.has(topic) || beginnings.some((beginning) => topic.startsWith(beginning));
}
