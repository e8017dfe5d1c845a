// send-to-openid -> here -> wechat-client: the request for one openid, from the message and its app's template.
// Guarantees: every field obeys the vendor's rule for its kind. What the producer wrote is sent unchanged or not at
// all; only the texts of the app's own template are cut to fit. Nothing is sent to an app that the message does not
// name.
import { makeWellFormed } from "@petrel/shared/protocol/messages/well-formed-json";
import { checkField, FIELD_NAME_PATTERN, fitField } from "./template-fields.js";
import {
  linkNamesOf,
  readLinks,
  TEMPLATE_ID_PATTERN,
  type WechatApp,
  type WechatLinks,
  type WechatTemplate,
} from "./wechat-apps.js";

export interface MessageForWechat {
  readonly id: string;
  /** ms since 1970. */
  readonly acceptedAtMs: number;
  /** JSON text of the request's `notification`. */
  readonly notification: string;
}

export type BuiltWechatMessage =
  | { readonly kind: "built"; readonly template: string; readonly body: string }
  /** This app cannot carry this message. */
  | { readonly kind: "none"; readonly reason: string }
  | { readonly kind: "invalid"; readonly reason: string };

interface Notification {
  readonly title?: string;
  readonly body?: string;
  readonly wechat?: Readonly<Record<string, unknown>>;
}

const WHERE = "notification.wechat";
/** WeChat's own names, from its documentation; `appid` selects one of several apps. */
const ownNames = ["appid", "template_id", "data"];

/** Used if a template needs a text and the message has none. */
const NOTHING = "-";

export function buildWechatMessage(
  message: MessageForWechat,
  app: WechatApp,
  openid: string,
): BuiltWechatMessage {
  const notification = JSON.parse(message.notification) as Notification;
  const { wechat = {} } = notification;
  const { appid, template_id: templateId, data, ...rest } = wechat;
  if (appid !== undefined && appid !== app.appid) {
    return typeof appid === "string"
      ? { kind: "none", reason: "the message is for another app" }
      : invalid(`${WHERE}.appid must be a string`);
  }
  const isForOtherKind = (name: string): boolean =>
    !linkNamesOf(app.kind).includes(name) &&
    [...linkNamesOf("service-account"), ...linkNamesOf("mini-program")].includes(name);
  // A message for both kinds of app carries the fields of both.
  const links = readLinks(
    app.kind,
    Object.fromEntries(Object.entries(rest).filter(([name]) => !isForOtherKind(name))),
  );
  if (typeof links === "string") {
    return invalid(`${WHERE}${links}${links.startsWith(" has") ? `, and ${ownNames.join(", ")}` : ""}`);
  }
  if (templateId !== undefined && (typeof templateId !== "string" || !TEMPLATE_ID_PATTERN.test(templateId))) {
    return invalid(`${WHERE}.template_id is not a template's id`);
  }
  const template = templateId ?? app.template?.id;
  if (template === undefined) {
    return {
      kind: "none",
      reason: `neither the message nor WECHAT_APPS_FILE names a template of ${app.appid}`,
    };
  }
  if (data === undefined && (app.template === undefined || app.template.id !== template)) {
    return invalid(`${WHERE}.data is missing: only the template of WECHAT_APPS_FILE is filled in by itself`);
  }
  const fields = data === undefined ? fillIn(app.template, notification, message) : readData(data);
  if (typeof fields === "string") return invalid(fields);
  return {
    kind: "built",
    template,
    body: encode(message.id, app, openid, template, fields, { ...app.opens, ...links }),
  };
}

function invalid(reason: string): BuiltWechatMessage {
  return { kind: "invalid", reason };
}

/** @returns field -> text, or the problem */
function readData(data: unknown): Readonly<Record<string, string>> | string {
  if (typeof data !== "object" || data === null || Array.isArray(data) || Object.keys(data).length === 0) {
    return `${WHERE}.data must be an object with the template's fields`;
  }
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(data as Readonly<Record<string, unknown>>)) {
    if (!FIELD_NAME_PATTERN.test(name))
      return `${WHERE}.data: ${JSON.stringify(name)} is not a field such as thing1`;
    const text = textOf(value);
    if (text === undefined) return `${WHERE}.data.${name} must be a string, a number, or { "value": … }`;
    const wrong = checkField(name, text);
    if (wrong !== undefined) return `${WHERE}.${wrong}`;
    fields[name] = text;
  }
  return fields;
}

/** Either a plain text, or WeChat's own form: `{ "value": … }`. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return makeWellFormedText(value);
  if (typeof value === "number") return String(value);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { value: inner, ...more } = value as Readonly<Record<string, unknown>>;
  return Object.keys(more).length === 0 && typeof inner !== "object" ? textOf(inner) : undefined;
}

/** @returns field -> text, or the problem */
function fillIn(
  template: WechatTemplate | undefined,
  { title, body }: Notification,
  { acceptedAtMs }: MessageForWechat,
): Readonly<Record<string, string>> | string {
  const texts: Readonly<Record<string, string>> = {
    title: title ?? body ?? NOTHING,
    body: body ?? title ?? NOTHING,
    time: timeInBeijing(acceptedAtMs),
  };
  const fields: Record<string, string> = {};
  for (const [name, pattern] of Object.entries(template?.fields ?? {})) {
    const filled = pattern.replace(/\{(title|body|time)\}/g, (_all, word: string) => texts[word] ?? "");
    const text = fitField(name, makeWellFormedText(filled)) || NOTHING;
    const wrong = checkField(name, text);
    if (wrong !== undefined) return `${wrong}: WECHAT_APPS_FILE fills in ${JSON.stringify(pattern)}`;
    fields[name] = text;
  }
  return fields;
}

/** As WeChat accepts it for `time` and `date`, which have no time zone. */
function timeInBeijing(atMs: number): string {
  return new Date(atMs + 8 * 60 * 60_000).toISOString().slice(0, 16).replace("T", " ");
}

function makeWellFormedText(text: string): string {
  // A text cut by length may end in half an emoji.
  return JSON.parse(makeWellFormed(JSON.stringify(text))) as string;
}

function encode(
  messageId: string,
  { kind }: WechatApp,
  openid: string,
  template: string,
  fields: Readonly<Record<string, string>>,
  links: WechatLinks,
): string {
  const data = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, { value }]));
  return JSON.stringify({
    touser: openid,
    template_id: template,
    ...links,
    data,
    // Within ten minutes WeChat shows one message per openid and id; only template messages have this.
    ...(kind === "service-account" ? { client_msg_id: messageId } : {}),
  });
}
