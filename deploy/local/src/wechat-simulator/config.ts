// The WeChat simulator's environment.
// Guarantees: validated and frozen; its variables have names of their own, so that a user's WECHAT_… for dispatch never
// apply to it.
import { commonSettings, portSetting } from "@petrel/shared/kernel/common-settings";
import { text } from "@petrel/shared/kernel/config";

export const wechatSimulatorConfigSchema = {
  ...commonSettings,
  host: text("HOST", "address to listen on; anyone who can reach it may change its answers", {
    default: "127.0.0.1",
  }),
  port: portSetting(7105),
  appsFile: text(
    "WECHAT_SIMULATOR_APPS_FILE",
    "JSON file with the apps that exist: `[{ appid, secret, kind, templates: { ID: [field, …] } }]`",
  ),
} as const;
