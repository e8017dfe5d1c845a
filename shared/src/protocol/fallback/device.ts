// auth/routes/devices -> here -> redis/devices-store -> dispatch/channels: where a user can be reached without a socket.
// Guarantees: every text in a device is free of spaces, tabs and newlines, so that it can stand in a line.

export const apnsEnvironments = ["production", "sandbox"] as const;
export type ApnsEnvironment = (typeof apnsEnvironments)[number];

/** As Apple hands it to the app, in hex: 32 bytes today, up to 100 announced. In any case; stored in lower case. */
export const APNS_TOKEN_PATTERN = "^[0-9A-Fa-f]{64,200}$";
/** A bundle id: https://developer.apple.com/documentation/bundleresources/information-property-list/cfbundleidentifier */
export const APNS_TOPIC_PATTERN = "^[A-Za-z0-9.-]{1,155}$";
export const WECHAT_ID_PATTERN = "^[A-Za-z0-9_-]{1,128}$";

/** What is known of a device before it is stored. */
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
  /** `d_` and 16 characters: the same for the same app and token, whoever's it is. */
  readonly id: string;
  /** When it was last registered for this user: every PUT renews it. */
  readonly registeredAtMs: number;
  /** When it was last registered, or a push to it was taken; exact to a day. */
  readonly lastSeenAtMs: number;
}

export interface IosDevice extends Registration {
  readonly platform: "ios";
  /** Lower-case hex. Personal data: in logs only its end, see `tokenEndOf`. */
  readonly token: string;
  /** The app's bundle id. */
  readonly topic: string;
  readonly environment: ApnsEnvironment;
  /** Not sent to until then. */
  readonly quarantinedUntilMs?: number;
  /** Apple has taken a push for it: the token is none that somebody has made up. */
  readonly isTaken?: true;
}

export interface WechatDevice extends Registration {
  readonly platform: "wechat";
  readonly openid: string;
  readonly appid: string;
}

export type Device = IosDevice | WechatDevice;

const END_LENGTH = 6;

/** What may be shown of a token (or an openid): its last six characters. */
export function tokenEndOf(device: NewDevice | Device): string {
  return (device.platform === "ios" ? device.token : device.openid).slice(-END_LENGTH);
}
