// auth/routes/devices -> here -> redis/devices-store -> dispatch/channels: where a user can be reached without a
// socket.
// Guarantees: no text in a device has spaces, tabs or newlines, so that it can stand in a line.

export const apnsEnvironments = ["production", "sandbox"] as const;
export type ApnsEnvironment = (typeof apnsEnvironments)[number];

/**
 * As Apple gives it to the app, in hex: 32 bytes today, up to 100 announced. Either case is accepted, lower case is
 * stored.
 */
export const APNS_TOKEN_PATTERN = "^[0-9A-Fa-f]{64,200}$";
/** A bundle id: https://developer.apple.com/documentation/bundleresources/information-property-list/cfbundleidentifier */
export const APNS_TOPIC_PATTERN = "^[A-Za-z0-9.-]{1,155}$";
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
  | { readonly platform: "wechat"; readonly openid: string; readonly appid: string };

interface Registration {
  /** `d_` and 16 characters: the same for the same app and token, whoever the user is. */
  readonly id: string;
  /** When it was last registered for this user: every PUT renews it. */
  readonly registeredAtMs: number;
  /** When it was last registered, or last took a push; exact to a day. */
  readonly lastSeenAtMs: number;
}

export interface IosDevice extends Registration {
  readonly platform: "ios";
  /** Lower-case hex. Personal data: logs only show its end, see `tokenEndOf`. */
  readonly token: string;
  /** The app's bundle id. */
  readonly topic: string;
  readonly environment: ApnsEnvironment;
  /** Skipped until then. */
  readonly quarantinedUntilMs?: number;
  /** Apple has taken a push for it, so nobody made the token up. */
  readonly isTaken?: true;
}

export interface WechatDevice extends Registration {
  readonly platform: "wechat";
  readonly openid: string;
  readonly appid: string;
}

export type Device = IosDevice | WechatDevice;

const END_LENGTH = 6;

/** The part of a token (or an openid) that may be shown: its last six characters. */
export function tokenEndOf(device: NewDevice | Device): string {
  return (device.platform === "ios" ? device.token : device.openid).slice(-END_LENGTH);
}
