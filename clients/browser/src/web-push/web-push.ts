// client -> here -> auth: registers this browser as a device of the user, so that it shows what is sent while its page
// is closed.
// Guarantees: after `enable` has resolved, auth knows the browser's current subscription. After `disable` the browser
// has none, whatever auth answers. A subscription made with another key is replaced, because nothing would arrive
// through it.
import { clientErrorCodes, describeFailure, PetrelClientError } from "../client-error.js";

export interface WebPushOptions {
  /** The service worker: its URL, or one that is already registered. See `@petrel/client/service-worker.js`. */
  readonly serviceWorker: string | URL | ServiceWorkerRegistration;
  /** The URL of auth, such as `https://auth.example.com`. Default: the page's own origin. */
  readonly auth?: string | undefined;
  /** Called when a notification was clicked, in the page that the click brought to the front. */
  readonly onClick?: ((click: NotificationClick) => void) | undefined;
}

export interface NotificationClick {
  /** The message's id; absent if the notification was not Petrel's. */
  readonly id: string | undefined;
  readonly seq: number | undefined;
  readonly epoch: string | undefined;
  /** The id of the clicked button; "" for the notification itself. */
  readonly action: string;
  /** The message's `notification.web.data`. */
  readonly data: unknown;
}

export interface WebPushDeps {
  /** An access token of the user. */
  readonly getToken: () => Promise<string>;
  readonly report: (error: PetrelClientError) => void;
}

export class WebPush {
  readonly #deps: WebPushDeps;
  #options: WebPushOptions | undefined;
  #listens = false;

  constructor(deps: WebPushDeps) {
    this.#deps = deps;
  }

  /**
   * Asks the user for permission if necessary, so call it from a click. May be called at each start of the page: it
   * renews the registration.
   * @throws PetrelClientError `webPushFailed` if this browser cannot, the user does not want it, or auth refuses
   */
  async enable(options: WebPushOptions): Promise<PushSubscription> {
    try {
      this.#options = options;
      const registration = await readyWorker(options.serviceWorker);
      this.#listen();
      const permission = await Notification.requestPermission();
      if (permission !== "granted") throw new Error(`notifications are ${permission}`);
      const { key } = (await this.#ask("GET", "/v1/web-push-key")) as { readonly key: string };
      const subscription = await subscribe(registration, key);
      await this.#ask("PUT", "/v1/devices", { platform: "web", subscription: subscription.toJSON() });
      return subscription;
    } catch (error) {
      throw failed("enableWebPush", error);
    }
  }

  /**
   * Ends the browser's subscription and removes the user's device. Call it when the user signs out.
   * @throws PetrelClientError `webPushFailed`
   */
  async disable(options: WebPushOptions | undefined = this.#options): Promise<void> {
    try {
      this.#options = options;
      const registration =
        options === undefined
          ? await navigator.serviceWorker.getRegistration()
          : await readyWorker(options.serviceWorker);
      const subscription = await registration?.pushManager.getSubscription();
      if (subscription === undefined || subscription === null) return;
      const { endpoint } = subscription;
      await subscription.unsubscribe();
      const id = await this.#findDevice(endpoint);
      if (id !== undefined) await this.#ask("DELETE", `/v1/devices/${id}`);
    } catch (error) {
      throw failed("disableWebPush", error);
    }
  }

  async #findDevice(endpoint: string): Promise<string | undefined> {
    const { host } = new URL(endpoint);
    const { items } = (await this.#ask("GET", "/v1/devices?limit=1000")) as {
      readonly items: readonly {
        readonly id: string;
        readonly host?: string;
        readonly endpointEnd?: string;
      }[];
    };
    return items.find((item) => item.host === host && item.endpointEnd === endpoint.slice(-6))?.id;
  }

  async #ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const auth = this.#options?.auth ?? location.origin;
    const isPublic = path === "/v1/web-push-key";
    const response = await fetch(new URL(path, auth), {
      method,
      headers: {
        ...(isPublic ? {} : { authorization: `Bearer ${await this.#deps.getToken()}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.ok) return text === "" ? undefined : (JSON.parse(text) as unknown);
    throw new Error(`auth answered ${response.status} to ${method} ${path}: ${text.slice(0, 200)}`);
  }

  /** Messages from the service worker. */
  #listen(): void {
    if (this.#listens) return;
    this.#listens = true;
    navigator.serviceWorker.addEventListener("message", ({ data }: MessageEvent<WorkerMessage | null>) => {
      if (data?.type === "petrel:click") {
        const { id, seq, epoch, action = "", data: more } = data;
        this.#options?.onClick?.({ id, seq, epoch, action, data: more });
      }
      if (data?.type === "petrel:subscription" && this.#options !== undefined) {
        this.enable(this.#options).catch((error: unknown) =>
          this.#deps.report(failed("enableWebPush", error)),
        );
      }
    });
    // Delivers what arrived before.
    navigator.serviceWorker.startMessages();
  }
}

interface WorkerMessage {
  readonly type?: string;
  readonly id?: string;
  readonly seq?: number;
  readonly epoch?: string;
  readonly action?: string;
  readonly data?: unknown;
}

async function readyWorker(given: WebPushOptions["serviceWorker"]): Promise<ServiceWorkerRegistration> {
  if (!("serviceWorker" in navigator) || !("PushManager" in globalThis)) {
    throw new Error(
      "this browser has no Web Push here (on an iPhone: add the page to the home screen first)",
    );
  }
  if (typeof given !== "string" && !(given instanceof URL)) return given;
  const registration = await navigator.serviceWorker.register(given);
  await navigator.serviceWorker.ready;
  return registration;
}

async function subscribe(registration: ServiceWorkerRegistration, key: string): Promise<PushSubscription> {
  const { pushManager } = registration;
  const present = await pushManager.getSubscription();
  if (present !== null) {
    if (keyOf(present) === key) return present;
    await present.unsubscribe();
  }
  return pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
}

/** base64url; "" if the browser does not tell. */
function keyOf({ options: { applicationServerKey } }: PushSubscription): string {
  if (applicationServerKey === null) return "";
  const text = btoa(String.fromCharCode(...new Uint8Array(applicationServerKey)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function failed(what: string, error: unknown): PetrelClientError {
  if (error instanceof PetrelClientError) return error;
  const message = `${what}: ${describeFailure(error)}`;
  return new PetrelClientError(clientErrorCodes.webPushFailed, message, { retryable: false, cause: error });
}
