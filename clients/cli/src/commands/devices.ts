// `petrel devices list|register|delete`.
// Guarantees: a missing or unexpected field of a device is an error before anything is sent.
import { readItems } from "../ask-service.js";
import { usageError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";

export const devicesOptions = {
  ...addressOptions,
  platform: { type: "string" },
  token: { type: "string" },
  topic: { type: "string" },
  environment: { type: "string" },
  openid: { type: "string" },
  appid: { type: "string" },
  json: { type: "boolean" },
} as const;

type DevicesCall = Call<typeof devicesOptions>;

interface ListedDevice {
  readonly id: string;
  readonly platform: string;
  readonly topic?: string;
  readonly environment?: string;
  readonly tokenEnd?: string;
  readonly appid?: string;
  readonly openidEnd?: string;
  readonly registeredAt: string;
  readonly lastSeenAt: string;
  readonly quarantinedUntil?: string;
}

const fieldsOf = {
  ios: ["token", "topic", "environment"],
  wechat: ["openid", "appid"],
} as const;

export const runDevices = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "devices",
      service: "auth",
      options: devicesOptions,
      actions: {
        list: { words: ["USER"], run: listDevices },
        register: { words: ["USER"], run: registerDevice },
        delete: { words: ["USER", "ID"], run: deleteDevice },
      },
    },
    args,
    terminal,
  );

async function listDevices({ values, terminal, words, ask }: DevicesCall): Promise<ExitCode> {
  for await (const device of readItems<ListedDevice>(ask, pathOf(words[0]))) {
    terminal.print(values.json === true ? JSON.stringify(device) : describeDevice(device));
  }
  return 0;
}

function describeDevice(device: ListedDevice): string {
  const { id, platform, topic, environment, tokenEnd, appid, openidEnd, quarantinedUntil } = device;
  const app = platform === "ios" ? `${topic} ${environment} …${tokenEnd}` : `${appid} …${openidEnd}`;
  const rests = quarantinedUntil === undefined ? "" : `, in quarantine until ${quarantinedUntil}`;
  return `${id} ${platform} ${app} registered ${device.registeredAt}, seen ${device.lastSeenAt}${rests}`;
}

async function registerDevice({ values, terminal, words, ask }: DevicesCall): Promise<ExitCode> {
  const { platform = "ios" } = values;
  if (platform !== "ios" && platform !== "wechat") throw usageError("--platform must be ios or wechat");
  const given = (["token", "topic", "environment", "openid", "appid"] as const).filter(
    (name) => values[name] !== undefined,
  );
  const fields: readonly string[] = fieldsOf[platform];
  const missing = fields.find((name) => !given.some((one) => one === name));
  if (missing !== undefined) throw usageError(`--${missing} is missing`);
  const surplus = given.find((name) => !fields.includes(name));
  if (surplus !== undefined) throw usageError(`--${surplus} is not for ${platform}`);
  const device = { platform, ...Object.fromEntries(given.map((name) => [name, values[name]])) };
  await ask("PUT", pathOf(words[0]), JSON.stringify(device));
  if (values.json !== true) terminal.print("registered");
  return 0;
}

async function deleteDevice({ values, terminal, words, ask }: DevicesCall): Promise<ExitCode> {
  const [user, id = ""] = words;
  await ask("DELETE", `${pathOf(user)}/${encodeURIComponent(id)}`);
  if (values.json !== true) terminal.print(`${id} deleted`);
  return 0;
}

function pathOf(userId = ""): string {
  return `/v1/users/${encodeURIComponent(userId)}/devices`;
}
