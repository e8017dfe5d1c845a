// `petrel doctor`: looks at a whole cluster, and says what is wrong and how to mend it.
// Guarantees: changes nothing. One part that does not answer does not keep it from the others. Exits with 1 if anything is
// wrong, with 0 if there is nothing but warnings.
import { createAsk } from "../ask-service.js";
import { CliError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, type ClusterAddress, findCluster } from "../cluster-address.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";
import { checkKeys } from "./check-keys.js";
import { checkMetrics } from "./check-metrics.js";
import { checkJwks, checkServices, type ServiceAddress } from "./check-services.js";
import { checkStanding } from "./check-standing.js";
import { failure, type Finding, type Level, mendOf, skipped } from "./finding.js";
import { type Diagnosis, judgeDiagnosis, judgeLayout } from "./judge-diagnosis.js";
import { judgeServer } from "./judge-redis.js";
import { readRedis } from "./read-redis.js";

export const doctorOptions = {
  ...addressOptions,
  "redis-url": { type: "string" },
  partitions: { type: "string" },
  metrics: { type: "string", multiple: true },
  verbose: { type: "boolean" },
  json: { type: "boolean" },
} as const;

type Values = ReturnType<typeof readArguments<typeof doctorOptions, []>>["values"];

const signs: Readonly<Record<Level, string>> = { ok: "ok", warning: "WARNING", error: "WRONG", skipped: "-" };

export async function runDoctor(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const { values } = readArguments(args, doctorOptions, []);
  const redisUrl = values["redis-url"] ?? terminal.environment["REDIS_URL"];
  const partitions = wholeNumber("--partitions", values.partitions ?? terminal.environment["PARTITIONS"], 1);
  const cluster = findParts(values, terminal);
  if (Object.keys(cluster).length === 0 && redisUrl === undefined && values.metrics === undefined) {
    throw usageError("which cluster? Name services (--dispatch, --auth, …) or --redis-url");
  }
  const found = (
    await Promise.all([
      checkServices(servicesOf(cluster), terminal.interrupted),
      askDispatch(cluster, values, terminal),
      askStanding(cluster, values, terminal),
      redisUrl === undefined
        ? [skipped("redis itself", "not asked: --redis-url is missing")]
        : askRedis(redisUrl, partitions, terminal),
      askAuth(cluster, values, terminal),
      values.metrics === undefined
        ? [skipped("metrics", "not looked at: --metrics is missing")]
        : checkMetrics(values.metrics, terminal.interrupted),
    ])
  ).flat();
  for (const finding of found) show(finding, values, terminal);
  const count = (level: Level): number => found.filter((one) => one.level === level).length;
  if (values.json !== true) {
    terminal.print(
      `${count("error")} wrong, ${count("warning")} warning${count("warning") === 1 ? "" : "s"}, ${count("ok")} fine, ${count("skipped")} not looked at`,
    );
  }
  return count("error") > 0 ? 1 : 0;
}

function show(finding: Finding, { json, verbose }: Values, { print }: Terminal): void {
  if (json === true) {
    print(JSON.stringify(finding));
    return;
  }
  const { check, level, says, mend } = finding;
  if (level === "ok" && verbose !== true) return;
  print(`${signs[level]} ${check}: ${says}`);
  if (mend !== undefined) print(`  ${mend}`);
}

type Parts = Partial<Pick<ClusterAddress, "auth" | "collect" | "dispatch" | "nodes" | "adminKey">>;

/** Those that the command line, the environment or a dev.json names; a wrong form is still a usage error. */
function findParts(values: Values, terminal: Terminal): Parts {
  const parts: { -readonly [Name in keyof Parts]?: Parts[Name] } = {};
  for (const name of ["auth", "collect", "dispatch", "nodes", "adminKey"] as const) {
    try {
      Object.assign(parts, { [name]: findCluster(values, [name], terminal)[name] });
    } catch (error) {
      if (!(error instanceof CliError) || !/is missing|no running cluster/.test(error.message)) throw error;
    }
  }
  return parts;
}

function servicesOf({ auth, collect, dispatch, nodes = [] }: Parts): ServiceAddress[] {
  return [
    ...Object.entries({ auth, collect, dispatch }).flatMap(([name, url]) =>
      url === undefined ? [] : [{ name, url: url.replace(/\/$/, "") }],
    ),
    ...nodes.map((node) => ({ name: "push-node", url: new URL(node.replace(/^ws/, "http")).origin })),
  ];
}

async function askDispatch(
  { dispatch, adminKey }: Parts,
  values: Values,
  terminal: Terminal,
): Promise<Finding[]> {
  if (dispatch === undefined || adminKey === undefined) {
    return [skipped("dispatch's facts", "not asked: --dispatch or --key is missing")];
  }
  try {
    const diagnosis = await createAsk("dispatch", "adminKey", values, terminal)("GET", "/v1/diagnosis");
    return judgeDiagnosis(diagnosis as unknown as Diagnosis);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [
      error.message.includes("answered 404")
        ? skipped(
            "dispatch's facts",
            "dispatch is of a release that does not tell them, or this address does not show them",
          )
        : failure(
            "dispatch's facts",
            error.message,
            mendOf(
              error.message,
              "A dispatcher that does not start says why in its log. Look at Redis itself with --redis-url.",
            ),
          ),
    ];
  }
}

async function askStanding(
  { dispatch, adminKey }: Parts,
  values: Values,
  terminal: Terminal,
): Promise<Finding[]> {
  if (dispatch === undefined || adminKey === undefined) return [];
  return checkStanding(createAsk("dispatch", "adminKey", values, terminal));
}

async function askRedis(url: string, partitions: number | undefined, terminal: Terminal): Promise<Finding[]> {
  const { facts, stored } = await readRedis(url, terminal);
  return [
    ...judgeServer(facts, "this machine"),
    ...(partitions === undefined || facts.problem !== undefined
      ? []
      : [judgeLayout(stored, partitions, "PARTITIONS")]),
  ];
}

async function askAuth({ auth, adminKey }: Parts, values: Values, terminal: Terminal): Promise<Finding[]> {
  if (auth === undefined) return [skipped("jwks", "not asked: --auth is missing")];
  const jwks = await checkJwks(auth.replace(/\/$/, ""), terminal.interrupted);
  if (adminKey === undefined) return [jwks, skipped("keys", "not asked: --key is missing")];
  return [jwks, ...(await checkKeys(createAsk("auth", "adminKey", values, terminal), Date.now()))];
}
