// `petrel doctor`: examines a whole cluster, and says what is wrong and how to fix it.
// Guarantees: changes nothing. A part that does not answer does not stop the other checks. Exits with 1 if anything is
// wrong, with 0 if there are only warnings.
import { createAsk } from "../ask-service.js";
import { CliError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, type AddressValues, type ClusterAddress, findCluster } from "../cluster-address.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";
import { checkKeys } from "./check-keys.js";
import { checkMetrics } from "./check-metrics.js";
import { checkJwks, checkServices, firstToAnswer, type ServiceAddress } from "./check-services.js";
import { checkStanding } from "./check-standing.js";
import { failure, type Finding, type Level, mendOf, skipped } from "./finding.js";
import {
  type Diagnosis,
  judgeDiagnosis,
  judgeDispatcher,
  judgeDispatchers,
  judgeLayout,
} from "./judge-diagnosis.js";
import { judgeServer } from "./judge-redis.js";
import { readRedis } from "./read-redis.js";

export const doctorOptions = {
  ...addressOptions,
  auth: { type: "string", multiple: true },
  collect: { type: "string", multiple: true },
  dispatch: { type: "string", multiple: true },
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
  const isNamed = servicesOf(cluster).length > 0 || cluster.adminKey !== undefined;
  if (!isNamed && redisUrl === undefined && values.metrics === undefined) {
    throw usageError("which cluster? Name services (--dispatch, --auth, …) or --redis-url");
  }
  const found = (
    await Promise.all([
      checkServices(servicesOf(cluster), terminal.interrupted),
      askDispatchers(cluster, values, terminal),
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

/** What the command line, the environment or a dev.json names. */
interface Parts {
  /** For each service its processes, the first one first. */
  readonly auth: readonly string[];
  readonly collect: readonly string[];
  readonly dispatch: readonly string[];
  readonly nodes: readonly string[];
  readonly adminKey: string | undefined;
}

/** A wrong form is still a usage error. */
function findParts(values: Values, terminal: Terminal): Parts {
  const find = <Name extends "auth" | "collect" | "dispatch" | "nodes" | "adminKey">(
    name: Name,
    given: AddressValues,
  ): ClusterAddress[Name] | undefined => {
    try {
      return findCluster(given, [name], terminal)[name];
    } catch (error) {
      if (!(error instanceof CliError) || !/is missing|no running cluster/.test(error.message)) throw error;
      return undefined;
    }
  };
  const every = (name: "auth" | "collect" | "dispatch"): string[] => {
    const given: readonly (string | undefined)[] = values[name] ?? [undefined];
    return given.flatMap((url) => find(name, { ...firstOfEach(values), [name]: url }) ?? []);
  };
  return {
    auth: every("auth"),
    collect: every("collect"),
    dispatch: every("dispatch"),
    nodes: find("nodes", firstOfEach(values)) ?? [],
    adminKey: find("adminKey", firstOfEach(values)),
  };
}

function firstOfEach({ auth, collect, dispatch, ...others }: Values): AddressValues {
  return { ...others, auth: auth?.[0], collect: collect?.[0], dispatch: dispatch?.[0] };
}

function servicesOf({ nodes, ...services }: Parts): ServiceAddress[] {
  return [
    ...(["auth", "collect", "dispatch"] as const).flatMap((name) =>
      services[name].map((url) => ({ name, url: url.replace(/\/$/, "") })),
    ),
    ...nodes.map((node) => ({ name: "push-node", url: new URL(node.replace(/^ws/, "http")).origin })),
  ];
}

/** Each dispatcher that is named: its clock, credentials and settings are its own. */
async function askDispatchers(
  { dispatch, adminKey }: Parts,
  values: Values,
  terminal: Terminal,
): Promise<Finding[]> {
  if (dispatch.length === 0 || adminKey === undefined) {
    return [skipped("dispatch's facts", "not asked: --dispatch or --key is missing")];
  }
  const answers = await Promise.all(
    dispatch.map((url) => askDispatch({ ...firstOfEach(values), dispatch: url }, terminal)),
  );
  const told = answers.flatMap((answer) => (isFinding(answer) ? [] : [answer]));
  const [first, ...others] = told;
  return [
    ...answers.filter(isFinding),
    ...(first === undefined ? [] : judgeDiagnosis(first)),
    ...others.flatMap(judgeDispatcher),
    ...judgeDispatchers(told),
  ];
}

function isFinding(answer: Diagnosis | Finding): answer is Finding {
  return "level" in answer;
}

async function askDispatch(values: AddressValues, terminal: Terminal): Promise<Diagnosis | Finding> {
  try {
    const diagnosis = await createAsk("dispatch", "adminKey", values, terminal)("GET", "/v1/diagnosis");
    return diagnosis as unknown as Diagnosis;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return error.message.includes("answered 404")
      ? skipped(
          "dispatch's facts",
          "dispatch is of a release that does not report them, or this address does not show them",
        )
      : failure(
          "dispatch's facts",
          error.message,
          mendOf(
            error.message,
            "A dispatcher that does not start says why in its log. Look at Redis itself with --redis-url.",
          ),
        );
  }
}

async function askStanding(
  { dispatch, adminKey }: Parts,
  values: Values,
  terminal: Terminal,
): Promise<Finding[]> {
  if (dispatch.length === 0 || adminKey === undefined) return [];
  const answering = await firstToAnswer(dispatch, terminal.interrupted);
  const addresses = { ...firstOfEach(values), dispatch: answering };
  return checkStanding(createAsk("dispatch", "adminKey", addresses, terminal));
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
  if (auth.length === 0) return [skipped("jwks", "not asked: --auth is missing")];
  const jwks = await Promise.all(auth.map((url) => checkJwks(url.replace(/\/$/, ""), terminal.interrupted)));
  if (adminKey === undefined) return [...jwks, skipped("keys", "not asked: --key is missing")];
  const answering = await firstToAnswer(auth, terminal.interrupted);
  const ask = createAsk("auth", "adminKey", { ...firstOfEach(values), auth: answering }, terminal);
  return [...jwks, ...(await checkKeys(ask, Date.now()))];
}
