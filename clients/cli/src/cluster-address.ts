// Finds the cluster's addresses and keys: from options, then the environment, then the local run's dev.json.
// Guarantees: gives everything a command needs, or an error that says what is missing and how to provide it.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CliError, describeError, usageError } from "./cli-error.js";
import type { Terminal } from "./terminal.js";
import { parseUrl } from "./parse-url.js";

export interface ClusterAddress {
  readonly auth: string;
  readonly collect: string;
  readonly dispatch: string;
  /** Full WebSocket URLs, up to /v1/connect. */
  readonly nodes: readonly string[];
  /** `key.secret`. */
  readonly key: string;
  /** `key.secret` with the scope `admin`. */
  readonly adminKey: string;
}

/** The options that name a cluster and say how to call it, in the form `parseArgs` takes. */
export const addressOptions = {
  config: { type: "string" },
  auth: { type: "string" },
  collect: { type: "string" },
  dispatch: { type: "string" },
  node: { type: "string", multiple: true },
  key: { type: "string" },
  sign: { type: "boolean" },
} as const;

export interface AddressValues {
  readonly config?: string | undefined;
  readonly auth?: string | undefined;
  readonly collect?: string | undefined;
  readonly dispatch?: string | undefined;
  readonly node?: readonly string[] | undefined;
  readonly key?: string | undefined;
  readonly sign?: boolean | undefined;
}

const DEV_FILE = join(".data", "dev.json");

/**
 * @param needed what the command uses; anything else may be missing
 * @throws CliError
 */
export function findCluster<Needed extends keyof ClusterAddress>(
  values: AddressValues,
  needed: readonly Needed[],
  { environment, workingDirectory }: Pick<Terminal, "environment" | "workingDirectory">,
): Pick<ClusterAddress, Needed> {
  // An empty variable is one that a compose file or a shell has not filled: it says nothing.
  const said = (name: string): string | undefined => environment[name] || undefined;
  const nodes = values.node ?? said("PETREL_NODE_URL")?.split(",");
  const given: Partial<ClusterAddress> = withoutUndefined({
    auth: values.auth ?? said("PETREL_AUTH_URL"),
    collect: values.collect ?? said("PETREL_COLLECT_URL"),
    dispatch: values.dispatch ?? said("PETREL_DISPATCH_URL"),
    key: values.key ?? said("PETREL_KEY"),
    adminKey: values.key ?? said("PETREL_KEY"),
    nodes: nodes?.map((url) => url.trim()).filter((url) => url !== ""),
  });
  const isComplete = needed.every((name) => given[name] !== undefined);
  const address = isComplete
    ? given
    : { ...readDevFile(values.config ?? said("PETREL_DEV_JSON"), workingDirectory, needed), ...given };
  for (const name of needed) check(name, address[name]);
  return address as Pick<ClusterAddress, Needed>;
}

function check(name: keyof ClusterAddress, value: string | readonly string[] | undefined): void {
  const option = optionOf(name);
  if (value === undefined || value.length === 0) throw usageError(`${option} is missing`);
  if (name === "key" || name === "adminKey") {
    if (!/^[^\s.]+\.\S+$/.test(String(value))) throw usageError("--key must have the form KEY.SECRET");
    return;
  }
  const protocols = name === "nodes" ? ["ws:", "wss:"] : ["http:", "https:"];
  for (const url of [value].flat()) {
    if (!protocols.includes(parseUrl(url)?.protocol ?? "")) {
      throw usageError(
        `${option} must be a URL with ${protocols.join("// or ")}//, not ${JSON.stringify(url)}`,
      );
    }
  }
}

function readDevFile(
  named: string | undefined,
  workingDirectory: string,
  needed: readonly (keyof ClusterAddress)[],
): Partial<ClusterAddress> {
  const path = named === undefined ? findDevFile(workingDirectory) : resolve(workingDirectory, named);
  if (path === undefined) {
    const options = needed.map(optionOf);
    throw new CliError(
      `no running cluster found: there is no ${DEV_FILE} here or above. ` +
        `Start one with \`npm start\`, or name one with ${options.join(", ")}.`,
    );
  }
  let content: Partial<Record<string, unknown>>;
  try {
    content = JSON.parse(readFileSync(path, "utf8")) as Partial<Record<string, unknown>>;
  } catch (cause) {
    throw new CliError(`cannot read ${path}: ${describeError(cause)}`, { cause });
  }
  const { auth, collect, dispatch, nodes, apiKey, apiSecret, adminToken } = content;
  return withoutUndefined({
    auth: textOf(auth),
    collect: textOf(collect),
    dispatch: textOf(dispatch),
    adminKey: textOf(adminToken),
    nodes: Array.isArray(nodes) ? nodes.filter((url) => typeof url === "string") : undefined,
    key: typeof apiKey === "string" && typeof apiSecret === "string" ? `${apiKey}.${apiSecret}` : undefined,
  });
}

function optionOf(name: keyof ClusterAddress): string {
  if (name === "nodes") return "--node";
  return name === "adminKey" ? "--key" : `--${name}`;
}

/** Finds the nearest one, from the working directory upwards. */
function findDevFile(from: string): string | undefined {
  for (let directory = resolve(from); ; directory = dirname(directory)) {
    const path = join(directory, DEV_FILE);
    if (existsSync(path)) return path;
    if (directory === dirname(directory)) return undefined;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function withoutUndefined(address: {
  readonly [Name in keyof ClusterAddress]: ClusterAddress[Name] | undefined;
}): Partial<ClusterAddress> {
  return Object.fromEntries(Object.entries(address).filter(([, value]) => value !== undefined));
}
