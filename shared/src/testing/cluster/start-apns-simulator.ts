// Tests and benches only: the APNs simulator of `npm start`, with a provider key made for it.
// Guarantees: free ports; resolves when it is ready; `stop` leaves nothing running and no file behind.
import { generateKeyPairSync, randomInt } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePortRange } from "../free-port.js";
import { startSimulatorProcess } from "./simulator-process.js";

export interface SimulatedNotification {
  /** RFC 3339. */
  readonly at: string;
  readonly apnsId: string;
  readonly topic: string;
  readonly pushType: string | null;
  readonly priority: number;
  readonly collapseId: string | null;
  /** Seconds since 1970. */
  readonly expiration: number | null;
  readonly payload: Readonly<Record<string, unknown>>;
}

export interface SimulatedAnswer {
  readonly status: number;
  /** For every status but 200. */
  readonly reason?: string;
  /** Milliseconds since 1970. */
  readonly timestamp?: number;
  /** Seconds. */
  readonly retryAfter?: number;
  /** For this many requests; otherwise until it is taken back. */
  readonly times?: number;
}

export interface SimulatedDevice {
  readonly answer?: SimulatedAnswer | null;
  /** The app that owns the token; any app if unset. */
  readonly topic?: string | null;
  readonly environment?: "production" | "sandbox" | null;
}

export interface SimulatedBehaviour {
  readonly latencyMs?: number;
  readonly maxConcurrentStreams?: number;
  /** Takes effect at once, once; see docs/start/local-run.md. */
  readonly goaway?:
    | boolean
    | { readonly connections?: number; readonly lastStream?: "newest" | "middle" | "none" };
  /** Takes effect at once; a swallowed connection stays so until the peer leaves. */
  readonly blackhole?: boolean | { readonly connections?: number; readonly delivering?: boolean };
  readonly answer?: SimulatedAnswer | null;
  readonly environment?: "production" | "sandbox" | null;
  readonly minTokenUpdateSeconds?: number;
}

export interface SimulatorStats {
  readonly connections: { readonly open: number; readonly opened: number };
  readonly streams: { readonly open: number; readonly opened: number; readonly most: number };
  /** Such as `{ "200": 7, "410 Unregistered": 1 }`. */
  readonly answers: Readonly<Record<string, number>>;
  readonly swallowed: number;
  readonly refusedByGoaway: number;
  readonly abandoned: number;
  /** Distinct provider tokens (JWTs) that were accepted. */
  readonly providerTokens: number;
  readonly repeatedApnsIds: number;
}

export interface TestApnsSimulator {
  /** Production: https://127.0.0.1:port. */
  readonly endpoint: string;
  /** The same port under the sandbox's name: https://localhost:port. */
  readonly sandboxEndpoint: string;
  /** The control API, such as http://127.0.0.1:7104. */
  readonly controlUrl: string;
  /** PEM file of the authority behind its certificate. */
  readonly caFile: string;
  /** PEM file (PKCS #8, as Apple's .p8) of the provider key. */
  readonly keyFile: string;
  readonly keyId: string;
  readonly teamId: string;
  /** PEM. */
  readonly privateKey: string;
  /** PEM. */
  readonly publicKey: string;
  /** APNS_… for dispatch. */
  readonly environment: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly notifications: (token: string) => Promise<SimulatedNotification[]>;
  readonly screen: (
    token: string,
  ) => Promise<{ readonly badge: number; readonly notifications: readonly SimulatedNotification[] }>;
  /** Every apns-id that arrived, with its device and how often. */
  readonly apnsIds: () => Promise<
    { readonly apnsId: string; readonly token: string; readonly times: number }[]
  >;
  readonly setDevice: (token: string, device: SimulatedDevice) => Promise<void>;
  readonly setAnswer: (token: string, answer: SimulatedAnswer | null) => Promise<void>;
  readonly setBehaviour: (behaviour: SimulatedBehaviour) => Promise<void>;
  readonly stats: () => Promise<SimulatorStats>;
  /** Forgets what has arrived. */
  readonly clear: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface StartApnsSimulatorOptions {
  /** In a process of its own, for what is measured; by default beside the services of test clusters. */
  readonly alone?: boolean;
  /** Environment for it, such as APNS_SIMULATOR_CLIENT_CA_FILE. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Further provider keys that it knows, besides the generated one. */
  readonly moreKeys?: readonly {
    readonly keyId: string;
    readonly teamId: string;
    readonly publicKey: string;
    readonly environment?: "production" | "sandbox";
  }[];
}

const root = fileURLToPath(new URL("../../../../", import.meta.url));

/** Needs `tsc -b`: it runs deploy/local/dist. */
export async function startApnsSimulator(
  options: StartApnsSimulatorOptions = {},
): Promise<TestApnsSimulator> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-apns-"));
  const keyId = makeAppleId();
  const teamId = makeAppleId();
  const { privateKey, publicKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const keyFile = join(directory, `AuthKey_${keyId}.p8`);
  const keysFile = join(directory, "known-keys.json");
  await writeFile(keyFile, privateKey, { mode: 0o600 });
  await writeFile(keysFile, JSON.stringify([{ keyId, teamId, publicKey }, ...(options.moreKeys ?? [])]));

  const port = await freePortRange(2);
  const controlUrl = `http://127.0.0.1:${port}`;
  const {
    pid,
    call,
    stop: stopProcess,
  } = await startSimulatorProcess({
    name: "apns-simulator",
    port,
    alone: options.alone ?? false,
    environment: {
      APNS_SIMULATOR_TLS_PORT: String(port + 1),
      APNS_SIMULATOR_KEYS_FILE: keysFile,
      ...options.environment,
    },
  });
  const stop = async (): Promise<void> => {
    await stopProcess();
    await rm(directory, { recursive: true, force: true });
  };

  const endpoint = `https://127.0.0.1:${port + 1}`;
  const sandboxEndpoint = `https://localhost:${port + 1}`;
  const caFile = join(root, "deploy/local/certificates/authority.pem");
  return {
    endpoint,
    sandboxEndpoint,
    controlUrl,
    caFile,
    keyFile,
    keyId,
    teamId,
    privateKey,
    publicKey,
    environment: {
      APNS_ENDPOINT: endpoint,
      APNS_SANDBOX_ENDPOINT: sandboxEndpoint,
      APNS_CA_FILE: caFile,
      APNS_KEY_FILE: keyFile,
      APNS_KEY_ID: keyId,
      APNS_TEAM_ID: teamId,
    },
    pid,
    notifications: (token) => call("GET", `/devices/${token}/notifications`),
    screen: (token) => call("GET", `/devices/${token}/screen`),
    apnsIds: () => call("GET", "/apns-ids"),
    setDevice: (token, device) => call("PUT", `/devices/${token}`, device),
    setAnswer: (token, answer) => call("PUT", `/devices/${token}`, { answer }),
    setBehaviour: (behaviour) => call("PUT", "/behaviour", behaviour),
    stats: () => call("GET", "/stats"),
    clear: () => call("DELETE", "/notifications"),
    stop,
  };
}

/** Ten characters, like Apple's key and team ids. */
function makeAppleId(): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from({ length: 10 }, () => letters[randomInt(letters.length)]).join("");
}
