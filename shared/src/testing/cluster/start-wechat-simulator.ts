// Tests and benches only: the WeChat simulator of `npm start`, with two apps.
// Guarantees: a free port; resolves when it is ready; `stop` leaves nothing running and no file behind.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../free-port.js";
import { startSimulatorProcess } from "./simulator-process.js";

export interface SimulatedWechatMessage {
  /** RFC 3339. */
  readonly at: string;
  readonly msgid: number;
  readonly appid: string;
  readonly kind: "service-account" | "mini-program";
  readonly templateId: string;
  readonly data: Readonly<Record<string, { readonly value: string }>>;
  readonly url?: string;
  readonly miniprogram?: unknown;
  readonly page?: string;
  readonly clientMsgId?: string;
  /** How often it came. */
  readonly times: number;
}

export interface SimulatedWechatToken {
  readonly appid: string;
  readonly token: string;
  readonly interface: "stable" | "legacy";
  readonly good: boolean;
  readonly fetches: number;
}

export interface WechatAnswerScript {
  readonly errcode: number;
  readonly errmsg?: string;
  readonly times?: number;
}

export interface WechatBehaviour {
  readonly latencyMs?: number;
  readonly tokenLatencyMs?: number;
  readonly blackhole?: boolean;
  readonly answer?: WechatAnswerScript | null;
  readonly tokenAnswer?: WechatAnswerScript | null;
  readonly aheadSeconds?: number;
  readonly limits?: Readonly<Record<string, { readonly perMinute: number; readonly perDay: number }>>;
}

export interface TestWechatSimulator {
  /** WeChat's interfaces and the control API, such as http://127.0.0.1:7105. */
  readonly url: string;
  /** As WECHAT_APPS_FILE wants it. */
  readonly appsFile: string;
  /** WECHAT_… for dispatch. */
  readonly environment: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly messages: (openid: string) => Promise<SimulatedWechatMessage[]>;
  /** Those who have got anything. */
  readonly openids: () => Promise<string[]>;
  readonly tokens: () => Promise<SimulatedWechatToken[]>;
  /** @returns how many were good until now */
  readonly revokeTokens: (appid?: string) => Promise<number>;
  readonly setUser: (
    openid: string,
    user: {
      readonly answer?: WechatAnswerScript | null;
      readonly refuses?: readonly string[];
      readonly follows?: boolean;
    },
  ) => Promise<void>;
  readonly setBehaviour: (behaviour: WechatBehaviour) => Promise<void>;
  readonly stats: () => Promise<{
    readonly answers: Readonly<Record<string, number>>;
    readonly messages: number;
    readonly repeats: number;
    readonly tokens: number;
    readonly tokenFetches: number;
  }>;
  /** Forgets what has arrived. */
  readonly clear: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export const simulatedWechat = {
  serviceAccount: { appid: "wx00000000000000a1", template: "T-notice", secret: "s3cr3t-of-the-account" },
  miniProgram: { appid: "wx00000000000000b2", template: "T-subscribe", secret: "s3cr3t-of-the-program" },
} as const;

/** Needs `tsc -b`: it runs deploy/local/dist. */
export async function startWechatSimulator(): Promise<TestWechatSimulator> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-wechat-"));
  const { serviceAccount, miniProgram } = simulatedWechat;
  const fields = { thing1: "{title}", thing2: "{body}" };
  const kinds = [
    { ...serviceAccount, kind: "service-account" },
    { ...miniProgram, kind: "mini-program" },
  ];
  const simulatedFile = join(directory, "simulated-apps.json");
  const simulated = kinds.map(({ appid, secret, kind, template }) => ({
    appid,
    secret,
    kind,
    templates: { [template]: Object.keys(fields), "T-amount": ["amount1", "time2"] },
  }));
  await writeFile(simulatedFile, JSON.stringify(simulated));
  const appsFile = join(directory, "apps.json");
  const apps = kinds.map(({ appid, secret, kind, template: id }) => [
    appid,
    { kind, secret, template: { id, fields } },
  ]);
  await writeFile(appsFile, JSON.stringify(Object.fromEntries(apps)), { mode: 0o600 });

  const port = await freePort();
  const { pid, call, stop } = await startSimulatorProcess({
    name: "wechat-simulator",
    port,
    environment: { WECHAT_SIMULATOR_APPS_FILE: simulatedFile },
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    appsFile,
    environment: { WECHAT_ENDPOINT: url, WECHAT_APPS_FILE: appsFile },
    pid,
    messages: (openid) => call("GET", `/users/${openid}/messages`),
    openids: () => call("GET", "/users"),
    tokens: () => call("GET", "/tokens"),
    revokeTokens: async (appid) =>
      (await call<{ readonly revoked: number }>("POST", "/tokens/revoke", { appid })).revoked,
    setUser: (openid, user) => call("PUT", `/users/${openid}`, user),
    setBehaviour: (behaviour) => call("PUT", "/behaviour", behaviour),
    stats: () => call("GET", "/stats"),
    clear: () => call("DELETE", "/messages"),
    stop: async () => {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
