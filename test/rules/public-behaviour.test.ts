// Rule: code, settings and alerts written against the release before need no change for this one.
// Guarantees: that release's environment variables and their defaults, error codes, scripts by their names, OpenAPI
// documents, answers, frames and metrics are still there, unchanged; every exception is listed here, with its reason.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { documentConfig, type Schema } from "@petrel/shared/kernel/config";
import { errorCatalogue } from "@petrel/shared/protocol/error-codes";
import { readScripts } from "@petrel/shared/redis/scripts/script-catalogue";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { authConfigSchema } from "../../services/auth/src/config.js";
import { collectConfigSchema } from "../../services/collect/src/config.js";
import { consoleConfigSchema } from "../../services/console/src/config.js";
import { dispatchSettings } from "../../services/dispatch/src/config.js";
import { pushNodeSettings } from "../../services/push-node/src/config.js";
import { findDifferences } from "../support/release/compare-values.js";
import { recordAnswers, recordFrames } from "../support/release/record-answers.js";
import {
  BUILD_DEADLINE_MS,
  buildReleaseBefore,
  hasReleaseBefore,
} from "../support/release/release-before.js";

interface Allowed {
  /** Matches the beginning of a difference's path. */
  readonly path: string;
  readonly why: string;
}

/** What may be missing or different. Additions are printed, and need no entry. */
const allowed: readonly Allowed[] = [];

/** Words for people, which may be improved. */
const freeText = new Set(["description", "summary", "title", "example", "examples", "meaning"]);

interface Behaviour {
  /** Service -> variable -> default, as documented. */
  readonly settings: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly errors: Readonly<Record<string, { readonly status?: number; readonly retryable: boolean }>>;
  /** Name -> source. */
  readonly scripts: Readonly<Record<string, string>>;
}

/** Run inside the release before: the paths are those of its build. */
const DESCRIBE_BEFORE = `
  const load = (path) => import(process.cwd() + "/" + path);
  const { documentConfig } = await load("shared/dist/kernel/config.js");
  const { errorCatalogue } = await load("shared/dist/protocol/error-codes.js");
  const { readScripts } = await load("shared/dist/redis/scripts/script-catalogue.js");
  const schemas = {
    auth: (await load("services/auth/dist/config.js")).authConfigSchema,
    collect: (await load("services/collect/dist/config.js")).collectConfigSchema,
    dispatch: (await load("services/dispatch/dist/config.js")).dispatchSettings,
    "push-node": (await load("services/push-node/dist/config.js")).pushNodeSettings,
    console: (await load("services/console/dist/config.js")).consoleConfigSchema,
  };
  console.log(JSON.stringify({
    rows: Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, documentConfig(schema)])),
    errors: errorCatalogue,
    scripts: Object.fromEntries([...readScripts()].map(([name, { source }]) => [name, source])),
  }));
`;

function describeBefore(release: string): Behaviour {
  const args = ["--input-type=module", "--eval", DESCRIBE_BEFORE];
  const text = execFileSync(process.execPath, args, { cwd: release, encoding: "utf8", maxBuffer: 2 ** 26 });
  const { rows, errors, scripts } = JSON.parse(text) as Behaviour & {
    readonly rows: Readonly<Record<string, readonly string[]>>;
  };
  return { settings: settingsOf(rows), errors, scripts };
}

function describeNow(): Behaviour {
  const schemas: Readonly<Record<string, Schema>> = {
    auth: authConfigSchema,
    collect: collectConfigSchema,
    dispatch: dispatchSettings,
    "push-node": pushNodeSettings,
    console: consoleConfigSchema,
  };
  const rows = Object.entries(schemas).map(([name, schema]): [string, string[]] => [
    name,
    documentConfig(schema),
  ]);
  return {
    settings: settingsOf(Object.fromEntries(rows)),
    errors: errorCatalogue,
    scripts: Object.fromEntries([...readScripts()].map(([name, { source }]) => [name, source])),
  };
}

/** From the rows of docs/operate/configuration.md: | `VARIABLE` | default | meaning | */
function settingsOf(rows: Readonly<Record<string, readonly string[]>>): Behaviour["settings"] {
  const ofService = (lines: readonly string[]): Record<string, string> =>
    Object.fromEntries(
      lines.map((line) => {
        const [, name = "", fallback = ""] = /^\| `(\w+)` \| (.*?) \| /.exec(line) ?? [];
        return [name, fallback];
      }),
    );
  return Object.fromEntries(Object.entries(rows).map(([name, lines]) => [name, ofService(lines)]));
}

interface Seen {
  readonly documents: unknown;
  readonly answers: unknown;
  readonly metrics: unknown;
  readonly frames: unknown;
}

const processes = ["auth", "collect", "dispatch-1", "push-node-1"] as const;

/** One cluster, from its start to its end. */
async function visit(release?: string): Promise<Seen> {
  const ports = new Map<string, number>();
  for (const name of processes) ports.set(name, await freePort());
  const cluster = await startCluster({
    nodes: 1,
    together: true,
    environmentOf: (name) => ({ METRICS_PORT: String(ports.get(name)) }),
    ...(release === undefined ? {} : { releaseOf: () => release }),
  });
  try {
    const documents: Record<string, unknown> = {};
    for (const { name, url } of cluster.processes) {
      documents[name] = JSON.parse(await (await fetch(`${url}/openapi.json`)).text()) as unknown;
    }
    // A node is ready before it has auth's public keys, on a busy machine, and says so: that is not compared.
    for (const { url } of cluster.nodes) {
      await waitFor(
        async () => {
          const body: unknown = await (await fetch(`${url}/health/ready`)).json();
          return (body as { readonly checks: { readonly tokens: unknown } }).checks.tokens === "ok";
        },
        { what: "the public keys" },
      );
    }
    const answers = await recordAnswers(cluster);
    const metrics: Record<string, unknown> = {};
    for (const name of processes) {
      metrics[name] = seriesOf(await (await fetch(`http://127.0.0.1:${ports.get(name)}/metrics`)).text());
    }
    return { documents, answers, metrics, frames: await recordFrames(cluster) };
  } finally {
    await cluster.stop();
  }
}

/** Metric -> its type and its series without their values. */
function seriesOf(text: string): Record<string, { readonly type: string; readonly series: string[] }> {
  const families: Record<string, { type: string; series: string[] }> = {};
  const lines = text.split("\n");
  for (const line of lines) {
    const [, name, type = ""] = /^# TYPE (\w+) (\w+)/.exec(line) ?? [];
    if (name !== undefined) families[name] = { type, series: [] };
  }
  for (const line of lines) {
    const [series = "", name = ""] = /^(petrel_\w+)(\{.*\})?(?= )/.exec(line) ?? [];
    const family = families[name] ?? families[name.replace(/_(bucket|sum|count)$/, "")];
    // Each cluster has its own encryption key.
    family?.series.push(series.replace(/\bkey="[^"]*"/, 'key="*"'));
  }
  return families;
}

const printed = new Set<string>();
const met = new Set<Allowed>();

/** Prints what was added; @returns what is gone or changed and not allowed. */
function breaks(part: string, before: unknown, after: unknown): string[] {
  const differences = findDifferences(before, after, freeText, part);
  for (const { path, kind, detail } of differences) {
    if (kind === "added") printed.add(`${path} ${detail}`);
  }
  return differences.flatMap(({ path, kind, detail }): string[] => {
    if (kind === "added") return [];
    const exception = allowed.find((one) => path.startsWith(one.path));
    if (exception === undefined) return [`${kind}: ${path}: ${detail}`];
    met.add(exception);
    return [];
  });
}

/** A script's code: comments and blank lines mean nothing to Redis. */
function codeOf(source: string): string {
  const code = source
    .split("\n")
    .map((line) => line.replace(/(^|\s)--(?!\[).*$/, "").trim())
    .filter((line) => line !== "");
  return createHash("sha256").update(code.join("\n")).digest("hex").slice(0, 12);
}

const isThere = await hasReleaseBefore();

describe.runIf(isThere)("compared with the previous release", () => {
  let before: Behaviour;
  let seenBefore: Seen;
  let seenNow: Seen;
  const now = describeNow();
  let release: string;

  beforeAll(async () => {
    release = await buildReleaseBefore();
    before = describeBefore(release);
  }, BUILD_DEADLINE_MS);
  beforeAll(async () => {
    seenBefore = await visit(release);
    seenNow = await visit();
  }, 300_000);
  afterAll(() => {
    process.stdout.write(`${["added since the release before:", ...printed].join("\n  ")}\n`);
  });

  test("no variable is removed, and no default changes", () => {
    expect(Object.keys(before.settings["collect"] ?? {}).length).toBeGreaterThan(10);
    expect(breaks("settings", before.settings, now.settings)).toEqual([]);
  });

  test("no error code is removed, or changes its status or retryability", () => {
    const texts = new Set(["meaning"]);
    expect(Object.keys(before.errors).length).toBeGreaterThan(20);
    expect(findDifferences(before.errors, now.errors, texts).filter(({ kind }) => kind !== "added")).toEqual(
      [],
    );
  });

  test("a script that does something else has another name", () => {
    const codes = (scripts: Behaviour["scripts"]): Record<string, string> =>
      Object.fromEntries(Object.entries(scripts).map(([name, source]) => [name, codeOf(source)]));
    const [its, ours] = [codes(before.scripts), codes(now.scripts)];
    expect(Object.keys(its).length).toBeGreaterThan(40);
    const stem = (name: string): string => name.replace(/\.v\d+$/, "");
    const version = (name: string): number => Number(/\d+$/.exec(name)?.[0]);
    // A newer version may replace an older one: the release before brings its own.
    const replaced = Object.keys(its).filter((name) =>
      Object.keys(ours).some((other) => stem(other) === stem(name) && version(other) > version(name)),
    );
    const kept = Object.fromEntries(Object.entries(its).filter(([name]) => !replaced.includes(name)));
    expect(breaks("scripts", kept, ours)).toEqual([]);
  });

  test("the OpenAPI documents keep what they said, and may add to it", () => {
    expect(breaks("documents", seenBefore.documents, seenNow.documents)).toEqual([]);
  });

  test("requests are answered as before", () => {
    expect(breaks("answers", seenBefore.answers, seenNow.answers)).toEqual([]);
  });

  test("sockets carry the same frames, and close the same way", () => {
    expect(breaks("frames", seenBefore.frames, seenNow.frames)).toEqual([]);
  });

  test("no metric, type, label or series is removed", () => {
    expect(breaks("metrics", seenBefore.metrics, seenNow.metrics)).toEqual([]);
  });

  test("every listed exception applies: runs last, when all the others have used theirs", () => {
    expect(allowed.filter((one) => !met.has(one))).toEqual([]);
  });
});
