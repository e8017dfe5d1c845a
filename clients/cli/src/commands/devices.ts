// `petrel devices list|register|add-web|add-wechat|delete`.
// Guarantees: a missing or unexpected field of a device is an error before anything is sent.
import { text } from "node:stream/consumers";
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
  readonly host?: string;
  readonly endpointEnd?: string;
  readonly registeredAt: string;
  readonly lastSeenAt: string;
  readonly quarantinedUntil?: string;
}

const deviceFields = ["token", "topic", "environment", "openid", "appid"] as const;
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
        "add-web": { words: ["USER", "SUBSCRIPTION"], run: addWeb },
        "add-wechat": { words: ["USER"], run: addWechat },
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
  const { id, platform, quarantinedUntil, registeredAt, lastSeenAt } = device;
  const rests = quarantinedUntil === undefined ? "" : `, in quarantine until ${quarantinedUntil}`;
  return `${id} ${platform} ${describeApp(device)} registered ${registeredAt}, seen ${lastSeenAt}${rests}`;
}

function describeApp(device: ListedDevice): string {
  switch (device.platform) {
    case "ios":
      return `${device.topic} ${device.environment} …${device.tokenEnd}`;
    case "web":
      return `${device.host} …${device.endpointEnd}`;
    default:
      return `${device.appid} …${device.openidEnd}`;
  }
}

async function registerDevice({ values, terminal, words, ask }: DevicesCall): Promise<ExitCode> {
  const { platform = "ios" } = values;
  if (platform !== "ios" && platform !== "wechat") throw usageError("--platform must be ios or wechat");
  const given = deviceFields.filter((name) => values[name] !== undefined);
  const fields: readonly string[] = fieldsOf[platform];
  const missing = fields.find((name) => !given.some((one) => one === name));
  if (missing !== undefined) throw usageError(`--${missing} is missing`);
  const surplus = given.find((name) => !fields.includes(name));
  if (surplus !== undefined) throw usageError(`--${surplus} is not for ${platform}`);
  return put(
    { values, terminal, words, ask },
    {
      platform,
      ...Object.fromEntries(given.map((name) => [name, values[name]])),
    },
  );
}

/** `register --platform wechat`, for people who do not know `add-wechat`. */
function addWechat(call: DevicesCall): Promise<ExitCode> {
  const { platform } = call.values;
  if (platform !== undefined) throw usageError("--platform is not for devices add-wechat");
  return registerDevice({ ...call, values: { ...call.values, platform: "wechat" } });
}

/**
 * A subscription is an object, given in the form of the browser's `toJSON()`. Other members, such as the `id` that the
 * simulator adds, are dropped: auth would refuse them.
 */
async function addWeb(call: DevicesCall): Promise<ExitCode> {
  const { values, words, terminal } = call;
  const surplus = deviceFields.find((name) => values[name] !== undefined);
  if (surplus !== undefined) throw usageError(`--${surplus} is not for devices add-web`);
  const [, argument = ""] = words;
  let subscription: unknown;
  try {
    subscription = JSON.parse(argument === "-" ? await text(terminal.stdin) : argument);
  } catch {
    subscription = undefined;
  }
  if (typeof subscription !== "object" || subscription === null) {
    throw usageError("SUBSCRIPTION must be the JSON of a browser's subscription, or - for standard input");
  }
  const { endpoint, expirationTime, keys } = subscription as Readonly<Record<string, unknown>>;
  return put(call, { platform: "web", subscription: { endpoint, expirationTime, keys } });
}

async function put({ values, terminal, words, ask }: DevicesCall, device: object): Promise<ExitCode> {
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
