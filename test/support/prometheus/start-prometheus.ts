// Tests only: Debian's Prometheus as its own process, with the project's configuration and rules, sped up.
// Guarantees: its own directory, a free port on 127.0.0.1; `stop` leaves no process and no file behind.
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { withoutCollection } from "../short-go-program.js";
import { dieWithParentPrefix } from "@petrel/shared/embedded-redis/die-with-parent";

export const prometheusDirectory = fileURLToPath(new URL("../../../deploy/prometheus/", import.meta.url));

const isInstalled = ["prometheus", "promtool"].every((name) => existsSync(`/usr/bin/${name}`));
if (!isInstalled) {
  process.stderr.write(
    "\n*** No Prometheus on this machine: tests with it are left out (apt-get install prometheus). ***\n\n",
  );
}
/** Whether tests that need it run: if it is installed, or if its absence must be a failure. */
export const runsPrometheus = isInstalled || process.env["PETREL_REQUIRE_PROMETHEUS"] === "1";

/** @throws Error with promtool's output if it finds a fault */
export function promtool(args: readonly string[], input?: string): string {
  return execFileSync("promtool", args, {
    encoding: "utf8",
    cwd: prometheusDirectory,
    env: withoutCollection(process.env),
    ...(input === undefined ? {} : { input }),
  });
}

/** How long an alert's condition must hold before it fires, in the fast copy of the rules. */
const QUICK_FOR = "2s";
const SECONDS_IN: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Every window and every `for:` shorter by a factor, so that they keep their proportions. */
function scaleRules(text: string, factor: number): string {
  const scaled = (count: string, unit: string): string =>
    `${Math.round((Number(count) * (SECONDS_IN[unit] ?? 1) * 1_000) / factor)}ms`;
  return text
    .replaceAll(/\bfor: (\d+)([smh])\b/g, (_, count: string, unit: string) => `for: ${scaled(count, unit)}`)
    .replaceAll(/\[(\d+)([smhd])\]/g, (_, count: string, unit: string) => `[${scaled(count, unit)}]`);
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: "pending" | "firing";
}

export interface Rule {
  readonly type: "alerting" | "recording";
  readonly name: string;
  readonly query: string;
  readonly health: string;
}

export interface Prometheus {
  /** The answer's `data`; rejects if Prometheus says that the request is wrong. */
  readonly ask: (path: string, parameters?: Readonly<Record<string, string>>) => Promise<unknown>;
  readonly series: (selector: string) => Promise<readonly Readonly<Record<string, string>>[]>;
  readonly alerts: () => Promise<readonly Alert[]>;
  readonly rules: () => Promise<readonly Rule[]>;
  readonly stop: () => Promise<void>;
}

/**
 * With deploy/prometheus' own files, except for: the targets, which are given; the interval, a second instead of
 * fifteen; and `for:`, two seconds. An alert's expression stays as it is.
 * @param targets `host:port` in prometheus.yml -> where it is here; jobs with any other are left out
 * @param faster then `for:` and the windows of expressions are shorter by this factor, all of them
 */
export async function startPrometheus(
  targets: ReadonlyMap<string, string>,
  { faster }: { readonly faster?: number } = {},
): Promise<Prometheus> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-prometheus-"));
  await mkdir(join(directory, "rules"));
  for (const name of await readdir(join(prometheusDirectory, "rules"))) {
    const text = await readFile(join(prometheusDirectory, "rules", name), "utf8");
    await writeFile(
      join(directory, "rules", name),
      faster === undefined
        ? text.replaceAll(/\bfor: \d+[smh]\b/g, `for: ${QUICK_FOR}`)
        : scaleRules(text, faster),
    );
  }
  const given = await readFile(join(prometheusDirectory, "prometheus.yml"), "utf8");
  const [head = "", ...jobs] = given
    .replaceAll("interval: 15s", "interval: 1s")
    .replaceAll("_part_of: petrel }", "_part_of: petrel, namespace: petrel }")
    .split(/^(?= {2}- job_name:)/m);
  const here = jobs
    .map((job) => job.replaceAll(/[\w-]+:9464/g, (target) => targets.get(target) ?? target))
    .filter((job) => !job.includes(":9464"));
  await writeFile(join(directory, "prometheus.yml"), head + here.join(""));

  const port = await freePort();
  const [command, ...prefix] = [...(await dieWithParentPrefix(process.env)), "prometheus"];
  const child = spawn(
    command,
    [
      ...prefix,
      `--config.file=${directory}/prometheus.yml`,
      `--storage.tsdb.path=${directory}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    { env: { ...process.env, GOGC: "400" }, stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const exited = new Promise((resolve) => child.once("close", resolve));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await exited;
    await rm(directory, { recursive: true, force: true });
  };

  const ask: Prometheus["ask"] = async (path, parameters = {}) => {
    const query = new URLSearchParams(parameters).toString();
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${query}`);
    const answer = (await response.json()) as { status: string; error?: string; data: unknown };
    if (answer.status !== "success") throw new Error(`${path} ${query}: ${answer.error ?? "no success"}`);
    return answer.data;
  };
  try {
    await waitFor(
      async () => child.exitCode !== null || (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok,
      { what: "Prometheus to be ready", deadlineMs: 30_000 },
    );
    if (child.exitCode !== null) throw new Error("Prometheus ended at its start");
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}\n${log}`, { cause: error });
  }
  return {
    ask,
    series: async (selector) =>
      (await ask("series", { "match[]": selector })) as Readonly<Record<string, string>>[],
    alerts: async () => ((await ask("alerts")) as { alerts: Alert[] }).alerts,
    rules: async () =>
      ((await ask("rules")) as { groups: { rules: Rule[] }[] }).groups.flatMap((g) => g.rules),
    stop,
  };
}
