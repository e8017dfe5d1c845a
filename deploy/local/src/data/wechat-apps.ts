// local-secrets -> here: the WeChat apps of the local run, for dispatch and the simulator.
// Guarantees: both know the same apps and templates, with this start's secrets.
import { randomBytes } from "node:crypto";

/** A service account whose template has a title and a text. */
export const demoAccount = { appid: "wxdemoaccount", template: "demo-notice" } as const;
const demoProgram = { appid: "wxdemoprogram", template: "demo-subscribe" } as const;

const fields = { thing1: "{title}", thing2: "{body}" } as const;

export interface WechatAppFiles {
  /** WECHAT_APPS_FILE. */
  readonly apps: string;
  readonly simulatedApps: string;
}

export function describeWechatApps(): WechatAppFiles {
  const demos = [
    { ...demoAccount, kind: "service-account", secret: makeSecret() },
    { ...demoProgram, kind: "mini-program", secret: makeSecret() },
  ];
  const apps = demos.map(({ appid, kind, secret, template: id }) => [
    appid,
    { kind, secret, template: { id, fields } },
  ]);
  const simulated = demos.map(({ appid, kind, secret, template }) => ({
    appid,
    kind,
    secret,
    templates: { [template]: Object.keys(fields) },
  }));
  return { apps: asText(Object.fromEntries(apps)), simulatedApps: asText(simulated) };
}

function makeSecret(): string {
  return randomBytes(16).toString("hex");
}

function asText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
