// The local run: `.data/dev.json`, where tools find the running cluster.
// Guarantees: it exists only while everything is up. Only the owner can read it, because it holds credentials.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type LocalPorts, nodeUrls, originOf } from "../ports/local-ports.js";
import { credential, type LocalSecrets } from "./local-secrets.js";
import { demoAccount } from "./wechat-apps.js";
import { writePrivateFile } from "./write-private-file.js";

/** The shape of the public contract (DESIGN section 3, "Local run"). */
export interface DevFile {
  readonly auth: string;
  /** The first of `collects`. */
  readonly collect: string;
  readonly collects: readonly string[];
  readonly dispatch: string;
  readonly console: string;
  /** Full WebSocket URLs, up to /v1/connect. */
  readonly nodes: readonly string[];
  /** The control API of the APNs simulator. */
  readonly apnsSimulator: string;
  /** The Web Push simulator: its control API. */
  readonly webPushSimulator: string;
  /** WeChat's interfaces and the control API of the WeChat simulator. */
  readonly wechatSimulator: string;
  /** An app that both the simulator and dispatch know. */
  readonly wechatAppid: string;
  readonly redis: string;
  readonly apiKey: string;
  readonly apiSecret: string;
  /** `key.secret` with every scope. */
  readonly adminToken: string;
}

export function describeCluster(ports: LocalPorts, redisUrl: string, secrets: LocalSecrets): DevFile {
  return {
    auth: originOf(ports.auth),
    collect: originOf(ports.collects[0] ?? 0),
    collects: ports.collects.map(originOf),
    dispatch: originOf(ports.dispatchers[0] ?? 0),
    console: originOf(ports.console),
    nodes: nodeUrls(ports),
    apnsSimulator: originOf(ports.apnsControl),
    webPushSimulator: originOf(ports.webPush),
    wechatSimulator: originOf(ports.wechat),
    wechatAppid: demoAccount.appid,
    redis: redisUrl,
    apiKey: secrets.apiKey.id,
    apiSecret: secrets.apiKey.secret,
    adminToken: credential(secrets.adminKey),
  };
}

export async function writeDevFile(dataDirectory: string, content: DevFile): Promise<void> {
  await writePrivateFile(join(dataDirectory, "dev.json"), `${JSON.stringify(content, null, 2)}\n`);
}

export async function removeDevFile(dataDirectory: string): Promise<void> {
  await rm(join(dataDirectory, "dev.json"), { force: true });
}
