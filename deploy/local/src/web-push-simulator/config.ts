// The Web Push simulator's environment.
// Guarantees: validated and frozen; its variables have names of their own, so that a user's VAPID_… for dispatch never
// apply to it.
import { commonSettings, portSetting } from "@petrel/shared/kernel/common-settings";
import { text } from "@petrel/shared/kernel/config";

export const webPushSimulatorConfigSchema = {
  ...commonSettings,
  host: text("HOST", "address to listen on; anyone who can reach it may change its answers", {
    default: "127.0.0.1",
  }),
  port: portSetting(7129),
  keyFile: text(
    "WEB_PUSH_SIMULATOR_KEY_FILE",
    "PEM file of the key that pages subscribe with, either half: only its holder may push",
  ),
} as const;
