// `petrel devices list|register|delete`.
// Guarantees: a device is named in full or not at all: what is missing or too much is said before anything is asked.
import { callService, type CallOptions } from "../call-service.js";
import { usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { type OptionValues, readArguments } from "../read-arguments.js";
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

type Values = OptionValues<typeof devicesOptions>;

interface Call {
  readonly values: Values;
  readonly terminal: Terminal;
  readonly words: readonly string[];
  readonly ask: (
    method: CallOptions["method"],
    path: string,
    body?: string,
  ) => Promise<Readonly<Record<string, unknown>>>;
}

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

const PAGE_SIZE = 1_000;
const fieldsOf = {
  ios: ["token", "topic", "environment"],
  wechat: ["openid", "appid"],
} as const;

const actions: Readonly<
  Record<string, { readonly words: readonly string[]; run: (call: Call) => Promise<ExitCode> }>
> = {
  list: { words: ["USER"], run: listDevices },
  register: { words: ["USER"], run: registerDevice },
  delete: { words: ["USER", "ID"], run: deleteDevice },
};

export async function runDevices(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name = "", ...rest] = args;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action === undefined) {
    throw usageError(`what about devices? There are ${Object.keys(actions).join(", ")}.`);
  }
  const { values, words } = readArguments(rest, devicesOptions, action.words);
  const ask: Call["ask"] = (method, path, body) => {
    const { auth, adminKey } = findCluster(values, ["auth", "adminKey"], terminal);
    return callService({
      service: "auth",
      baseUrl: auth,
      key: adminKey,
      sign: values.sign === true,
      method,
      path,
      interrupted: terminal.interrupted,
      ...(body === undefined ? {} : { body }),
    });
  };
  return action.run({ values, terminal, words, ask });
}

async function listDevices({ values, terminal, words, ask }: Call): Promise<ExitCode> {
  let cursor: unknown;
  do {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
    if (typeof cursor === "string") query.set("cursor", cursor);
    const page = await ask("GET", `${pathOf(words[0])}?${query.toString()}`);
    for (const device of (page["items"] ?? []) as ListedDevice[]) {
      terminal.print(values.json === true ? JSON.stringify(device) : describeDevice(device));
    }
    cursor = page["nextCursor"];
  } while (typeof cursor === "string");
  return 0;
}

function describeDevice(device: ListedDevice): string {
  const { id, platform, topic, environment, tokenEnd, appid, openidEnd, quarantinedUntil } = device;
  const app = platform === "ios" ? `${topic} ${environment} …${tokenEnd}` : `${appid} …${openidEnd}`;
  const rests = quarantinedUntil === undefined ? "" : `, in quarantine until ${quarantinedUntil}`;
  return `${id} ${platform} ${app} registered ${device.registeredAt}, seen ${device.lastSeenAt}${rests}`;
}

async function registerDevice({ values, terminal, words, ask }: Call): Promise<ExitCode> {
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

async function deleteDevice({ values, terminal, words, ask }: Call): Promise<ExitCode> {
  const [user, id = ""] = words;
  await ask("DELETE", `${pathOf(user)}/${encodeURIComponent(id)}`);
  if (values.json !== true) terminal.print(`${id} deleted`);
  return 0;
}

function pathOf(userId = ""): string {
  return `/v1/users/${encodeURIComponent(userId)}/devices`;
}
