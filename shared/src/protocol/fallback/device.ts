// auth/routes/devices -> here -> redis/devices-store -> dispatch/channels: where a user can be reached without a
// socket.
// Guarantees: no text in a device has spaces, tabs or newlines, so each fits into one line of a store.

export const apnsEnvironments = ["production", "sandbox"] as const;
export type ApnsEnvironment = (typeof apnsEnvironments)[number];

/**
 * As Apple gives it to the app, in hex: 32 bytes today, up to 100 announced. Either case is accepted, lower case is
 * stored.
 */
export const APNS_TOKEN_PATTERN = "^[0-9A-Fa-f]{64,200}$";
/** A bundle id: https://developer.apple.com/documentation/bundleresources/information-property-list/cfbundleidentifier */
export const APNS_TOPIC_PATTERN = "^[A-Za-z0-9.-]{1,155}$";
/** A push service's URL for one browser, RFC 8030 section 4. Configuration decides which hosts are accepted. */
export const WEB_ENDPOINT_PATTERN = "^https?://[!-~]+$";
export const MAX_WEB_ENDPOINT = 2_048;
/** An uncompressed point of P-256, 65 bytes that begin with 4, as base64url. */
export const WEB_P256DH_PATTERN = "^B[A-Za-z0-9_-]{86}=?$";
/** 16 bytes as base64url. */
export const WEB_AUTH_PATTERN = "^[A-Za-z0-9_-]{22}(==)?$";
export const WECHAT_ID_PATTERN = "^[A-Za-z0-9_-]{1,128}$";

/** A device before it is stored. */
export type NewDevice =
  | {
      readonly platform: "ios";
      /** Hex. */
      readonly token: string;
      /** The app's bundle id. */
      readonly topic: string;
      readonly environment: ApnsEnvironment;
    }
  | { readonly platform: "wechat"; readonly openid: string; readonly appid: string }
  | ({ readonly platform: "web" } & WebSubscription);

/** What a browser's push service gave to a page. */
export interface WebSubscription {
  /** A secret, like a token: whoever has it can send to this browser, though not read what it gets. */
  readonly endpoint: string;
  /** base64url without padding, like all keys here. */
  readonly p256dh: string;
  readonly auth: string;
  /** ms since 1970; absent for never. */
  readonly expiresAtMs?: number;
}

interface Registration {
  /** `d_` and 16 characters: the same for the same app and token, regardless of the user. */
  readonly id: string;
  /** When it was last registered for this user: every PUT renews it. */
  readonly registeredAtMs: number;
  /** When it was last registered or last accepted a push; precise to a day. */
  readonly lastSeenAtMs: number;
}

export interface IosDevice extends Registration {
  readonly platform: "ios";
  /** Lower-case hex. Personal data: logs show only its end, see `tokenEndOf`. */
  readonly token: string;
  /** The app's bundle id. */
  readonly topic: string;
  readonly environment: ApnsEnvironment;
  /** No push before this time. */
  readonly quarantinedUntilMs?: number;
  /** Apple has accepted a push for it, so the token is real. */
  readonly isTaken?: true;
}

export interface WechatDevice extends Registration {
  readonly platform: "wechat";
  readonly openid: string;
  readonly appid: string;
}

export interface WebDevice extends Registration, WebSubscription {
  readonly platform: "web";
}

export type Device = IosDevice | WechatDevice | WebDevice;

const END_LENGTH = 6;

/** The part of a token (or an openid, an endpoint) that may be shown: its last six characters. */
export function tokenEndOf(device: NewDevice | Device): string {
  return secretOf(device).slice(-END_LENGTH);
}

function secretOf(device: NewDevice | Device): string {
  switch (device.platform) {
    case "ios":
      return device.token;
    case "wechat":
      return device.openid;
    case "web":
      return device.endpoint;
  }
}

/** The app a device belongs to, as people know it: a bundle id, an appid, or the host of a push service. */
export function appOf(device: NewDevice | Device): string {
  switch (device.platform) {
    case "ios":
      return device.topic;
    case "wechat":
      return device.appid;
    case "web":
      return hostOfEndpoint(device.endpoint);
  }
}

/** With the port, if any. Avoids `URL`: browser pages and Node must get the same result. */
export function hostOfEndpoint(endpoint: string): string {
  return /^https?:\/\/([^/?#]*)/.exec(endpoint)?.[1] ?? "";
}
