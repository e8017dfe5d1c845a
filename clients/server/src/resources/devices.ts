// petrel -> here -> auth: the devices to which a user's messages fall back. docs/phones/devices.md. Scope: `devices`.
import { path, type ServiceCaller } from "../requests/service-caller.js";

export type NewDevice =
  | {
      readonly platform: "ios";
      readonly token: string;
      readonly topic: string;
      readonly environment: "production" | "sandbox";
    }
  | { readonly platform: "wechat"; readonly openid: string; readonly appid: string }
  | {
      readonly platform: "web";
      /** In the form of a browser's `toJSON()`. */
      readonly subscription: {
        readonly endpoint: string;
        readonly keys: { readonly p256dh: string; readonly auth: string };
        readonly expirationTime?: number | null | undefined;
      };
    };

export interface Device {
  readonly id: string;
  readonly platform: string;
  readonly registeredAt: string;
  readonly lastSeenAt: string;
  readonly quarantinedUntil?: string;
  /** What distinguishes it from others, by platform: `topic`, `tokenEnd`, `openidEnd`, `host` … */
  readonly [detail: string]: unknown;
}

export class DevicesApi {
  readonly #caller: ServiceCaller;

  constructor(caller: ServiceCaller) {
    this.#caller = caller;
  }

  async register(userId: string, device: NewDevice): Promise<void> {
    await this.#caller.call("auth", "PUT", path`/v1/users/${userId}/devices`, { body: device });
  }

  list(userId: string): AsyncIterableIterator<Device> {
    return this.#caller.items("auth", path`/v1/users/${userId}/devices`);
  }

  async delete(userId: string, deviceId: string): Promise<void> {
    await this.#caller.call("auth", "DELETE", path`/v1/users/${userId}/devices/${deviceId}`);
  }
}
