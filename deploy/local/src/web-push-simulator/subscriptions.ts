// push-app, control-routes -> here: subscribed browsers, and what they would show.
// Guarantees: each has keys and an unguessable address of its own. Of notifications with one topic the last is kept.
// Both are bounded.
import { createECDH, randomBytes, randomUUID } from "node:crypto";

/** In the form of a browser's `PushSubscription.toJSON()`. */
export interface SubscriptionJson {
  readonly id: string;
  readonly endpoint: string;
  readonly expirationTime: null;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

export interface PushAnswer {
  readonly status: number;
  /** Seconds. */
  readonly retryAfter?: number;
  /** For how many pushes; absent: until it is removed. */
  readonly times?: number;
}

export interface ShownNotification {
  /** RFC 3339. */
  readonly at: string;
  readonly ttl: number;
  readonly urgency: string;
  readonly topic: string | null;
  /** Decrypted; parsed if it is JSON, otherwise text. */
  readonly payload: unknown;
}

export interface Subscription {
  readonly json: SubscriptionJson;
  /** base64url; the only key whose pushes are accepted (RFC 8292 section 4). */
  readonly applicationServerKey: string;
  readonly privateKey: Buffer;
  readonly auth: Buffer;
  readonly notifications: ShownNotification[];
  answer: PushAnswer | undefined;
}

export interface SubscriptionsOptions {
  readonly origin: string;
  readonly applicationServerKey: string;
}

const MAX_SUBSCRIPTIONS = 100_000;
const MAX_NOTIFICATIONS = 1_000;
export const PUSH_PATH = "/push/";

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #byId = new Map<string, Subscription>();
  readonly #byToken = new Map<string, Subscription>();

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** @param applicationServerKey set if a key other than the cluster's may push */
  create(applicationServerKey = this.#options.applicationServerKey): Subscription {
    const keys = createECDH("prime256v1");
    const p256dh = keys.generateKeys().toString("base64url");
    const auth = randomBytes(16);
    const token = randomBytes(32).toString("base64url");
    const json: SubscriptionJson = {
      id: randomUUID(),
      endpoint: `${this.#options.origin}${PUSH_PATH}${token}`,
      expirationTime: null,
      keys: { p256dh, auth: auth.toString("base64url") },
    };
    const made: Subscription = {
      json,
      applicationServerKey,
      privateKey: keys.getPrivateKey(),
      auth,
      notifications: [],
      answer: undefined,
    };
    this.#byId.set(json.id, made);
    this.#byToken.set(token, made);
    if (this.#byId.size > MAX_SUBSCRIPTIONS) this.remove(this.#byId.keys().next().value ?? "");
    return made;
  }

  find(id: string): Subscription | undefined {
    return this.#byId.get(id);
  }

  /** @param token the endpoint's last part */
  findByToken(token: string): Subscription | undefined {
    return this.#byToken.get(token);
  }

  remove(id: string): boolean {
    const found = this.#byId.get(id);
    if (found === undefined) return false;
    this.#byId.delete(id);
    this.#byToken.delete(found.json.endpoint.slice(found.json.endpoint.lastIndexOf("/") + 1));
    return true;
  }
}

/** Takes its scripted answer; each push uses one up. */
export function takeAnswer(subscription: Subscription): PushAnswer | undefined {
  const { answer } = subscription;
  if (answer?.times !== undefined) {
    subscription.answer = answer.times <= 1 ? undefined : { ...answer, times: answer.times - 1 };
  }
  return answer;
}

/** A newer notification replaces an older one with its topic (RFC 8030 section 5.4). */
export function show({ notifications }: Subscription, notification: ShownNotification): void {
  const { topic } = notification;
  const older = topic === null ? -1 : notifications.findIndex((one) => one.topic === topic);
  if (older !== -1) notifications.splice(older, 1);
  notifications.push(notification);
  if (notifications.length > MAX_NOTIFICATIONS) notifications.shift();
}
