// auth's and dispatch's configuration -> here: the settings of Web Push that both read.
// Guarantees: documented by this schema; an invalid entry ends the start.
import { list, optionalText } from "../../kernel/config.js";

/** The push services of the four browsers' vendors: Chrome and Edge on Android, Firefox, Safari, Edge on Windows. */
export const DEFAULT_WEB_PUSH_HOSTS: readonly string[] = [
  "fcm.googleapis.com",
  "*.push.services.mozilla.com",
  "*.push.apple.com",
  "*.notify.windows.com",
];

export const webPushSettings = {
  webPushHosts: list(
    "WEB_PUSH_HOSTS",
    "push services whose endpoints are accepted: hosts, `*.example.com` for its subdomains, or an origin such as `http://127.0.0.1:7107`, which alone may be private or without TLS; the same for auth and dispatch",
    { default: DEFAULT_WEB_PUSH_HOSTS },
  ),
  vapidKeyFile: optionalText(
    "VAPID_KEY_FILE",
    "PEM file of the P-256 key that names this server to push services (RFC 8292): the private key for dispatch, either half for auth; without it there is no Web Push (`petrel web-push-key` makes one)",
  ),
} as const;
