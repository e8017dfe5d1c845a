// open-wechat -> here -> build-wechat-message: the WeChat apps to send through, from WECHAT_APPS_FILE.
// Guarantees: the result is usable: every field is known, every secret was read, every text of a template fits its
// field's kind. Otherwise one line says what is wrong, without showing a secret.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import { WECHAT_ID_PATTERN } from "@petrel/shared/protocol/fallback/device";
import { FIELD_NAME_PATTERN } from "./template-fields.js";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

export const wechatKinds = ["service-account", "mini-program"] as const;
/** A service account sends template messages, a mini program subscribe messages. */
export type WechatKind = (typeof wechatKinds)[number];

export interface WechatTemplate {
  readonly id: string;
  /** Field -> text, with {title}, {body} and {time} as placeholders for the message's. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface WechatApp {
  readonly appid: string;
  readonly kind: WechatKind;
  readonly secret: string;
  /** For messages that name no template. */
  readonly template: WechatTemplate | undefined;
  /** What a tap opens, unless the message says otherwise. */
  readonly opens: WechatLinks;
}

/** Under WeChat's names: `url` and `miniprogram` for template messages, the others for subscribe messages. */
export interface WechatLinks {
  readonly url?: string;
  readonly miniprogram?: { readonly appid: string; readonly pagepath?: string };
  readonly page?: string;
  readonly miniprogram_state?: string;
  readonly lang?: string;
}

const WHERE = "WECHAT_APPS_FILE";
export const TEMPLATE_ID_PATTERN = /^[\w-]{1,128}$/;
const idPattern = new RegExp(WECHAT_ID_PATTERN);

/**
 * @param file undefined if WeChat is not used
 * @throws ConfigError
 */
export function readWechatApps(file: string | undefined): ReadonlyMap<string, WechatApp> {
  if (file === undefined) return new Map();
  let value: unknown;
  try {
    value = JSON.parse(readText(WHERE, file));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${WHERE} must be JSON: ${describeError(error)}`);
  }
  const apps = Object.entries(asObject(WHERE, value, undefined));
  if (apps.length === 0) throw new ConfigError(`${WHERE} must name an app at least`);
  const directory = dirname(resolve(file));
  return new Map(apps.map(([appid, app]) => [appid, readApp(appid, app, directory)]));
}

function readApp(appid: string, value: unknown, directory: string): WechatApp {
  if (!idPattern.test(appid)) throw new ConfigError(`${WHERE}: ${JSON.stringify(appid)} is not an appid`);
  const where = `${WHERE}.${appid}`;
  const app = asObject(where, value, ["kind", "secret", "secretFile", "template", "opens"]);
  const kind = wechatKinds.find((known) => known === app["kind"]);
  if (kind === undefined) throw new ConfigError(`${where}.kind must be ${wechatKinds.join(" or ")}`);
  return {
    appid,
    kind,
    secret: readSecret(where, app, directory),
    template: app["template"] === undefined ? undefined : readTemplate(`${where}.template`, app["template"]),
    opens: readOpens(`${where}.opens`, kind, app["opens"]),
  };
}

function readSecret(where: string, app: Readonly<Record<string, unknown>>, directory: string): string {
  const { secret, secretFile } = app;
  if ((secret === undefined) === (secretFile === undefined)) {
    throw new ConfigError(`${where} must have either a secret or a secretFile`);
  }
  const text =
    secret === undefined
      ? readText(`${where}.secretFile`, resolve(directory, asText(`${where}.secretFile`, secretFile))).trim()
      : asText(`${where}.secret`, secret);
  // The secret travels as JSON, or in a query.
  if (!/^[!-~]{1,128}$/.test(text)) throw new ConfigError(`${where}: the secret must be one word of ASCII`);
  return text;
}

function readTemplate(where: string, value: unknown): WechatTemplate {
  const template = asObject(where, value, ["id", "fields"]);
  const id = asText(`${where}.id`, template["id"]);
  if (!TEMPLATE_ID_PATTERN.test(id)) throw new ConfigError(`${where}.id is not a template's id`);
  const fields = Object.entries(asObject(`${where}.fields`, template["fields"], undefined));
  if (fields.length === 0) throw new ConfigError(`${where}.fields must name a field at least`);
  return {
    id,
    fields: Object.fromEntries(
      fields.map(([name, text]) => {
        if (!FIELD_NAME_PATTERN.test(name)) {
          throw new ConfigError(`${where}.fields: ${JSON.stringify(name)} is not a field such as thing1`);
        }
        return [name, readFieldText(`${where}.fields.${name}`, text)];
      }),
    ),
  };
}

function readFieldText(where: string, value: unknown): string {
  const text = asText(where, value);
  const wrong = [...text.matchAll(/\{([^{}]*)\}/g)].find(
    ([, name = ""]) => !["title", "body", "time"].includes(name),
  );
  if (wrong !== undefined)
    throw new ConfigError(`${where}: there is {title}, {body} and {time}, no ${wrong[0]}`);
  return text;
}

function readOpens(where: string, kind: WechatKind, value: unknown): WechatLinks {
  if (value === undefined) return {};
  const read = readLinks(kind, value);
  if (typeof read === "string") throw new ConfigError(`${where}${read}`);
  return read;
}

const linksOf = {
  "service-account": ["url", "miniprogram"],
  "mini-program": ["page", "miniprogram_state", "lang"],
} as const;
const states = ["developer", "trial", "formal"];
const languages = ["zh_CN", "en_US", "zh_HK", "zh_TW"];

export function linkNamesOf(kind: WechatKind): readonly string[] {
  return linksOf[kind];
}

/** @returns what a tap opens, or what is wrong, worded to follow the object's name */
export function readLinks(kind: WechatKind, value: unknown): WechatLinks | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return " must be an object";
  const known: readonly string[] = linksOf[kind];
  const links = value as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(links).find((name) => !known.includes(name));
  if (unknown !== undefined)
    return ` has ${JSON.stringify(unknown)}; a ${kind}'s may have ${known.join(", ")}`;
  const { url, miniprogram, page, miniprogram_state: state, lang } = links;
  if (url !== undefined && !isWebAddress(url)) return ".url must be an address of http or https";
  if (miniprogram !== undefined && !isMiniProgram(miniprogram)) {
    return ".miniprogram must have an appid, and may have a pagepath";
  }
  if (page !== undefined && !isPath(page)) return ".page must be a path of 1 to 1,024 characters";
  if (state !== undefined && !isOneOf(states, state))
    return `.miniprogram_state must be one of ${states.join(", ")}`;
  if (lang !== undefined && !isOneOf(languages, lang)) return `.lang must be one of ${languages.join(", ")}`;
  return links;
}

function isWebAddress(value: unknown): boolean {
  return (
    typeof value === "string" &&
    value.length <= 2_048 &&
    /^https?:\/\//.test(value) &&
    parseUrl(value) !== undefined
  );
}

function isMiniProgram(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { appid, pagepath, ...more } = value as Readonly<Record<string, unknown>>;
  return (
    typeof appid === "string" &&
    idPattern.test(appid) &&
    (pagepath === undefined || isPath(pagepath)) &&
    Object.keys(more).length === 0
  );
}

function isPath(value: unknown): boolean {
  return typeof value === "string" && value !== "" && value.length <= 1_024;
}

function isOneOf(words: readonly string[], value: unknown): boolean {
  return words.some((word) => word === value);
}

/** @param known undefined allows any field */
function asObject(
  where: string,
  value: unknown,
  known: readonly string[] | undefined,
): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`${where} must be an object`);
  }
  const unknown = known === undefined ? undefined : Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new ConfigError(`${where} has ${JSON.stringify(unknown)}; it may have ${known?.join(", ")}`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function asText(where: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw new ConfigError(`${where} must be a string`);
  return value;
}

function readText(where: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`${where} cannot be read: ${describeError(error)}`);
  }
}
