// The local run: the environment of each service's process.
// Guarantees: the user's own environment passes through; only what this machine's layout decides overrides it.
import { join } from "node:path";
import type { Environment } from "@petrel/shared/embedded-redis/run-command";
import type { ApnsProviderKey } from "../data/apns-provider-key.js";
import { DEFAULT_WEB_PUSH_HOSTS } from "@petrel/shared/security/web-push/web-push-settings";
import { collectName, type LocalPorts, nodeUrls, originOf } from "../ports/local-ports.js";
import type { SecretFiles } from "../data/local-secrets.js";

export type ServiceKind = "auth" | "collect" | "dispatch" | "push-node" | "console" | SimulatorKind;

/** The simulators, which are part of deploy/local itself. */
export type SimulatorKind = "apns-simulator" | "web-push-simulator" | "wechat-simulator";

export interface ServiceSpec {
  /** Unique, such as "auth" or "push-node-2". */
  readonly name: string;
  readonly kind: ServiceKind;
  readonly script: string;
  /** Its address, such as http://127.0.0.1:7101. */
  readonly origin: string;
  readonly environment: Environment;
}

export interface SpecInput {
  readonly repositoryRoot: string;
  readonly ports: LocalPorts;
  /** How Redis is reached; overrides the user's environment. */
  readonly redisEnvironment: Environment;
  readonly secretFiles: SecretFiles;
  /** The key in the file `secretFiles.apnsKey`. */
  readonly apnsKey: Pick<ApnsProviderKey, "keyId" | "teamId">;
  /** A file of rules for topics. */
  readonly topicRules: string;
  readonly environment: Environment;
}

/** Groups of services that may start at the same time; each group waits until the previous one is ready. */
export const startOrder: readonly (readonly ServiceKind[])[] = [
  ["auth", "apns-simulator", "web-push-simulator", "wechat-simulator"],
  ["collect", "dispatch", "push-node", "console"],
];

/** Groups in the order of the stop: callers before callees. */
export const stopOrder: readonly ServiceKind[] = [
  "console",
  "collect",
  "push-node",
  "dispatch",
  "apns-simulator",
  "web-push-simulator",
  "wechat-simulator",
  "auth",
];

export function describeServices(input: SpecInput): ServiceSpec[] {
  const { repositoryRoot, ports, redisEnvironment, secretFiles, topicRules, environment } = input;
  const spec = (name: string, kind: ServiceKind, port: number, own: Environment): ServiceSpec => ({
    name,
    kind,
    script: join(repositoryRoot, ...scriptOf(kind)),
    origin: originOf(port),
    environment: {
      ...defaults(ports),
      TOPICS_FILE: topicRules,
      ...set(environment),
      HOST: "127.0.0.1",
      PORT: String(port),
      ...redisEnvironment,
      AUTH_URL: originOf(ports.auth),
      METRICS_PORT: undefined,
      NODE_NAME: undefined,
      ...own,
    },
  });
  return [
    spec("auth", "auth", ports.auth, {
      PRODUCER_KEYS_FILE: secretFiles.producerKeys,
      KEY_ENCRYPTION_FILE: secretFiles.keyEncryption,
      METRICS_PORT: String(ports.metrics.auth),
      ...webPushEnvironment(input),
    }),
    ...ports.collects.map((port, i) =>
      spec(collectName(ports, i), "collect", port, {
        KEY_ENCRYPTION_FILE: secretFiles.keyEncryption,
        METRICS_PORT: String(ports.metrics.collects[i]),
      }),
    ),
    ...ports.dispatchers.map((port, i) =>
      spec(`dispatch-${i + 1}`, "dispatch", port, {
        NODE_NAME: `dispatch-${i + 1}`,
        KEY_ENCRYPTION_FILE: secretFiles.keyEncryption,
        ...apnsEnvironment(input),
        ...webPushEnvironment(input),
        ...wechatEnvironment(input),
      }),
    ),
    spec("apns-simulator", "apns-simulator", ports.apnsControl, {
      APNS_SIMULATOR_TLS_PORT: String(ports.apnsTls),
      APNS_SIMULATOR_KEYS_FILE: secretFiles.apnsKnownKeys,
    }),
    spec("web-push-simulator", "web-push-simulator", ports.webPush, {
      WEB_PUSH_SIMULATOR_KEY_FILE: set(environment)["VAPID_KEY_FILE"] ?? secretFiles.vapidKey,
    }),
    spec("wechat-simulator", "wechat-simulator", ports.wechat, {
      WECHAT_SIMULATOR_APPS_FILE: secretFiles.wechatSimulatedApps,
    }),
    ...ports.nodes.map((port, i) =>
      spec(`push-node-${i + 1}`, "push-node", port, {
        NODE_NAME: `node-${i + 1}`,
        METRICS_PORT: String(ports.metrics.nodes[i]),
        INTROSPECT_KEY_FILE: set(environment)["INTROSPECT_KEY_FILE"] ?? secretFiles.apiKey,
      }),
    ),
    spec("console", "console", ports.console, {
      COLLECT_URL: originOf(ports.collects[0] ?? 0),
      NODE_URLS: nodeUrls(ports).join(","),
      API_KEY_FILE: secretFiles.apiKey,
      APNS_SIMULATOR_URL: originOf(ports.apnsControl),
      WEB_PUSH_SIMULATOR_URL: originOf(ports.webPush),
    }),
  ];
}

function scriptOf(kind: ServiceKind): readonly string[] {
  return kind.endsWith("-simulator")
    ? ["deploy", "local", "dist", kind, "main.js"]
    : ["services", kind, "dist", "main.js"];
}

const apnsEndpoints = ["APNS_ENDPOINT", "APNS_SANDBOX_ENDPOINT", "APNS_CA_FILE"];
const apnsCredentials = ["APNS_KEY_FILE", "APNS_KEY_ID", "APNS_TEAM_ID", "APNS_APPS_FILE"];

/**
 * Makes dispatch push to the simulator. Both of Apple's environments share one port there, told apart by the host name.
 * The user's own settings win as a whole: their key is not sent to the simulator, which does not know it, and their
 * endpoint is not verified against the simulator's authority.
 */
function apnsEnvironment({
  repositoryRoot,
  ports,
  secretFiles,
  apnsKey,
  environment,
}: SpecInput): Environment {
  const own = set(environment);
  const hasCredentials = apnsCredentials.some((name) => name in own);
  const hasEndpoints = apnsEndpoints.some((name) => name in own);
  const endpoints = {
    APNS_ENDPOINT: `https://127.0.0.1:${ports.apnsTls}`,
    APNS_SANDBOX_ENDPOINT: `https://localhost:${ports.apnsTls}`,
    APNS_CA_FILE: join(repositoryRoot, "deploy", "local", "certificates", "authority.pem"),
  };
  const credentials = {
    APNS_KEY_FILE: secretFiles.apnsKey,
    APNS_KEY_ID: apnsKey.keyId,
    APNS_TEAM_ID: apnsKey.teamId,
  };
  return {
    ...(hasCredentials || hasEndpoints ? {} : endpoints),
    ...(hasCredentials ? {} : credentials),
  };
}

/** The user's own key and list win; the simulator is always added to the list. */
function webPushEnvironment({ ports, secretFiles, environment }: SpecInput): Environment {
  const own = set(environment);
  const hosts = own["WEB_PUSH_HOSTS"] ?? DEFAULT_WEB_PUSH_HOSTS.join(",");
  return {
    WEB_PUSH_HOSTS: `${hosts},${originOf(ports.webPush)}`,
    VAPID_KEY_FILE: own["VAPID_KEY_FILE"] ?? secretFiles.vapidKey,
    VAPID_SUBJECT: own["VAPID_SUBJECT"] ?? "mailto:petrel@localhost.invalid",
  };
}

/** Makes dispatch send to the WeChat simulator. The user's own settings win as a whole, like those of APNs. */
function wechatEnvironment({ ports, secretFiles, environment }: SpecInput): Environment {
  const own = set(environment);
  if ("WECHAT_APPS_FILE" in own || "WECHAT_ENDPOINT" in own) return {};
  return { WECHAT_ENDPOINT: originOf(ports.wechat), WECHAT_APPS_FILE: secretFiles.wechatApps };
}

/** The services' settings unless the user sets others. */
function defaults(ports: LocalPorts): Environment {
  return {
    ALLOWED_ORIGINS: `http://127.0.0.1:${ports.console},http://localhost:${ports.console}`,
    // Twenty seconds for clients to move are too long for somebody at a desk.
    DRAIN_WINDOW_MS: "2000",
    // One machine is one address, however many clients it simulates.
    CONNECTS_PER_ADDRESS_PER_MINUTE: "0",
    CONNECTS_PER_USER_PER_MINUTE: "0",
    REQUESTS_PER_ADDRESS_PER_SECOND: "0",
    FAILED_AUTHS_PER_ADDRESS_PER_MINUTE: "0",
    // So it may use all slots, and open as many at once as a load generator does: otherwise a socket whose request has
    // arrived but was not read yet would be destroyed without an answer.
    MAX_PENDING_SOCKETS: "20000",
    MAX_PENDING_SOCKETS_PER_ADDRESS: "20000",
    MAX_UNAUTHENTICATED_PER_ADDRESS: "1000",
    // With ten thousand connects at once to two nodes, clients wait for their turn instead of being refused.
    CONNECT_WAIT_MS: "10000",
    // A single key sends as much as this machine can take.
    MESSAGES_PER_KEY_PER_SECOND: "100000",
    REQUESTS_PER_KEY_PER_SECOND: "10000",
  };
}

/** An empty variable counts as unset, as in the services. */
function set(environment: Environment): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ""),
  );
}
