// The APNs simulator: what has arrived at each phone.
// Guarantees: keeps the newest 10,000 of a device, 100,000 and 128 MiB in total. Every accepted one is listed, repeated
// or not. The screen is what a person sees: one for each collapse id, one for each apns-id, none without something to
// show.

export interface ReceivedNotification {
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly apnsId: string;
  readonly topic: string;
  readonly pushType: string | null;
  readonly priority: number;
  readonly collapseId: string | null;
  /** Seconds since 1970; null if the request named none. */
  readonly expiration: number | null;
  /** JSON text. */
  readonly payload: string;
}

export interface Screen {
  /** The number on the app's icon; 0 means none. */
  readonly badge: number;
  /** The newest first. */
  readonly notifications: readonly ReceivedNotification[];
}

export interface Arrival {
  readonly apnsId: string;
  readonly token: string;
  readonly times: number;
}

interface Kept extends ReceivedNotification {
  readonly number: number;
}

interface Bounds {
  readonly perDevice: number;
  readonly inAll: number;
  readonly bytes: number;
}

const usualBounds: Bounds = { perDevice: 10_000, inAll: 100_000, bytes: 128 * 1024 * 1024 };

export class ReceivedNotifications {
  readonly #bounds: Bounds;
  readonly #byDevice = new Map<string, Kept[]>();
  /** Number of each kept notification -> its device, the oldest first. */
  readonly #order = new Map<number, string>();
  readonly #arrivals = new Map<string, { readonly token: string; times: number }>();
  #bytes = 0;
  #next = 0;
  #repeats = 0;

  constructor(bounds: Partial<Bounds> = {}) {
    this.#bounds = { ...usualBounds, ...bounds };
  }

  /** Notifications whose apns-id had arrived before. */
  get repeats(): number {
    return this.#repeats;
  }

  add(token: string, notification: ReceivedNotification): void {
    this.#countArrival(token, notification.apnsId);
    const list = this.#byDevice.get(token) ?? [];
    this.#byDevice.set(token, list);
    const number = this.#next++;
    list.push({ ...notification, number });
    this.#order.set(number, token);
    this.#bytes += notification.payload.length;
    if (list.length > this.#bounds.perDevice) this.#forgetOldestOf(token);
    while (this.#order.size > this.#bounds.inAll || this.#bytes > this.#bounds.bytes) {
      const [oldest] = this.#order.values();
      if (oldest === undefined) break;
      this.#forgetOldestOf(oldest);
    }
  }

  /** In the order of their arrival. */
  list(token: string): readonly ReceivedNotification[] {
    return this.#byDevice.get(token) ?? [];
  }

  screen(token: string): Screen {
    const shown = new Map<string, ReceivedNotification>();
    let badge = 0;
    for (const notification of this.list(token)) {
      const aps = readAps(notification.payload);
      if (typeof aps["badge"] === "number") badge = aps["badge"];
      if (aps["alert"] === undefined || notification.pushType === "background") continue;
      const key = notification.collapseId ?? `id ${notification.apnsId}`;
      // Delete it first, so that it ends up on top.
      shown.delete(key);
      shown.set(key, notification);
    }
    // The same apns-id may have arrived with another collapse id: it still shows once, as the newest.
    const ids = new Set<string>();
    const newestFirst = [...shown.values()].reverse();
    const notifications = newestFirst.filter(({ apnsId }) => !ids.has(apnsId) && ids.add(apnsId));
    return { badge, notifications };
  }

  /** Every apns-id that arrived, as long as it is remembered, and how often. */
  arrivals(): Arrival[] {
    return [...this.#arrivals].map(([apnsId, { token, times }]) => ({ apnsId, token, times }));
  }

  /** @param token only those of this device; all if absent */
  clear(token?: string): void {
    if (token !== undefined) {
      while (this.#byDevice.has(token)) this.#forgetOldestOf(token);
      return;
    }
    this.#byDevice.clear();
    this.#order.clear();
    this.#arrivals.clear();
    this.#bytes = 0;
    this.#repeats = 0;
  }

  #countArrival(token: string, apnsId: string): void {
    const known = this.#arrivals.get(apnsId);
    if (known !== undefined) {
      known.times++;
      this.#repeats++;
      return;
    }
    this.#arrivals.set(apnsId, { token, times: 1 });
    if (this.#arrivals.size > this.#bounds.inAll) {
      const [oldest] = this.#arrivals.keys();
      if (oldest !== undefined) this.#arrivals.delete(oldest);
    }
  }

  #forgetOldestOf(token: string): void {
    const list = this.#byDevice.get(token) ?? [];
    const oldest = list.shift();
    if (oldest !== undefined) {
      this.#order.delete(oldest.number);
      this.#bytes -= oldest.payload.length;
    }
    if (list.length === 0) this.#byDevice.delete(token);
  }
}

function readAps(payload: string): Readonly<Record<string, unknown>> {
  const { aps } = JSON.parse(payload) as { readonly aps?: unknown };
  return typeof aps === "object" && aps !== null ? (aps as Readonly<Record<string, unknown>>) : {};
}
