// Checks the Dockerfile and .dockerignore. No engine is needed.
// Guarantees: every image is built from files that exist and are sent, runs as nobody, and is watched without a shell;
// no setting is unread.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { validate } from "dockerfile-utils";
import { describe, expect, test } from "vitest";
import {
  environmentOf,
  inheritedInstructions,
  lastOf,
  readDockerfile,
} from "../support/containers/read-dockerfile.js";
import { nodeArgumentsOf } from "@petrel/shared/kernel/node-arguments";
import { imageNames, problemsOf } from "../support/containers/service-settings.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

const dockerfile = read("deploy/docker/Dockerfile");
const stages = readDockerfile(dockerfile);

describe("the Dockerfile", () => {
  test("passes a linter", () => {
    expect(validate(dockerfile)).toEqual([]);
    // The linter does work: it finds a missing stage, and a form that needs a shell.
    expect(validate("FROM a AS b\nCOPY . \nENTRYPOINT ['node']\n").length).toBeGreaterThan(0);
  });

  test("names the base image by a version and its digest, once", () => {
    expect(/^ARG NODE_IMAGE=(.*)$/m.exec(dockerfile)?.[1]).toMatch(
      /^node:24\.\d+\.\d+-[a-z-]+@sha256:[0-9a-f]{64}$/,
    );
    const names = new Set(stages.map(({ name }) => name));
    for (const { base } of stages) expect(base === "${NODE_IMAGE}" || names.has(base), base).toBe(true);
  });

  test("is built from existing files that .dockerignore lets through", () => {
    const rules = readDockerignore(read(".dockerignore"));
    const build = stages.find(({ name }) => name === "build");
    const sources = (build?.instructions ?? [])
      .filter(({ keyword }) => keyword === "COPY")
      .flatMap(({ text }) => text.split(/\s+/).slice(0, -1));
    expect(sources.length).toBeGreaterThan(10);
    for (const source of sources) {
      expect(existsSync(join(root, source)), source).toBe(true);
      const path = source.replace(/\/$/, "");
      const sent = source.endsWith("/") ? `${path}/package.json` : path;
      expect(isSent(rules, sent), source).toBe(true);
    }
    // npm refuses a lock file that lists more workspaces than it finds.
    for (const path of workspaces()) expect(sources).toContain(`${path}/package.json`);
    for (const path of [
      "deploy/docker/secrets/key-encryption",
      ".data/dev.json",
      ".git/config",
      "node_modules/ws/package.json",
      "services/auth/node_modules/x/package.json",
      "shared/dist/kernel/config.js",
      "shared/src/kernel/config.test.ts",
      ".env",
    ]) {
      expect(isSent(rules, path), path).toBe(false);
    }
  });

  test("installs only what the lock file names, and runs none of its scripts", () => {
    const installs = dockerfile
      .split("\n")
      .filter((line) => /\b(npm|yarn|apt-get|apk|curl|wget)\b/.test(line));
    expect(installs.filter((line) => !line.startsWith("#"))).toEqual([
      "RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --no-audit --no-fund",
    ]);
  });

  test.each(imageNames)(
    "%s: only its own files, as an unprivileged user, with a health check without a shell",
    (name) => {
      const assemble = stages.find((stage) => stage.name === `assemble-${name}`);
      expect(assemble?.base).toBe("build");
      expect(assemble?.instructions.map(({ words }) => words)).toEqual([
        ["node", "deploy/docker/assemble-service.mjs", name, "/assembled"],
      ]);
      const instructions = inheritedInstructions(stages, name);
      const own = (keyword: string) => lastOf(instructions, keyword);
      expect(instructions.filter(({ keyword }) => keyword === "COPY").map(({ text }) => text)).toEqual([
        `--from=assemble-${name} /assembled/ ./`,
      ]);
      // Whatever an earlier stage has: the image itself runs and adds nothing.
      expect(instructions.filter(({ keyword }) => keyword === "RUN" || keyword === "ADD")).toEqual([]);
      expect(own("USER")?.text).toMatch(/^[1-9]\d{3,}:[1-9]\d{3,}$/);
      expect(own("STOPSIGNAL")?.text).toBe("SIGTERM");
      expect(own("HEALTHCHECK")?.words).toEqual(["node", "healthcheck.mjs"]);
      const [program, ...words] = own("ENTRYPOINT")?.words ?? [];
      expect(program).toBe("node");
      const script = words.at(-1) ?? "";
      expect(words.slice(0, -1), "as every other way to start it").toEqual(nodeArgumentsOf(name));
      expect(existsSync(join(root, script.replace("/dist/", "/src/").replace(/\.js$/, ".ts"))), script).toBe(
        true,
      );
      const labels = instructions.filter(({ keyword }) => keyword === "LABEL").map(({ text }) => text);
      for (const label of ["title", "description", "licenses", "version", "revision"]) {
        expect(labels.join(" ")).toContain(`org.opencontainers.image.${label}=`);
      }
      const { NODE_ENV, ...environment } = environmentOf(instructions);
      expect(NODE_ENV).toBe("production");
      expect(problemsOf(name, environment)).toEqual([]);
      expect(own("EXPOSE")?.text.split(" ")[0]).toBe(environment["PORT"]);
    },
  );
});

describe("the toolbox", () => {
  const instructions = inheritedInstructions(stages, "toolbox");

  test("is the command, as an unprivileged user, without a health check", () => {
    expect(lastOf(instructions, "ENTRYPOINT")?.words).toEqual(["node", "clients/cli/bin/petrel.js"]);
    expect(lastOf(instructions, "USER")?.text).toBe("10001:10001");
    expect(lastOf(instructions, "HEALTHCHECK")?.text).toBe("NONE");
    expect(instructions.filter(({ keyword }) => ["RUN", "ADD", "EXPOSE"].includes(keyword))).toEqual([]);
  });
});

test("a namespace that enforces the standard `restricted` accepts the toolbox pod from its page", () => {
  const [, overrides = "{}"] = /--overrides='([^']*)'/.exec(read("docs/operate/images.md")) ?? [];
  expect(JSON.parse(overrides)).toEqual({
    spec: {
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      containers: [
        {
          name: "toolbox",
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
        },
      ],
    },
  });
});

interface IgnoreRule {
  readonly pattern: RegExp;
  readonly isException: boolean;
}

/** The patterns in use here: `*`, plain paths, `**` before a name, `!` for exceptions. */
function readDockerignore(text: string): IgnoreRule[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const isException = line.startsWith("!");
      const expression = line
        .replace(/^!/, "")
        .replace(/[.+]/g, "\\$&")
        .replace(/\*\*\//g, "(.*/)?")
        .replace(/(?<![.)])\*/g, "[^/]*");
      // What is below a match matches too.
      return { isException, pattern: new RegExp(`^${expression}(/|$)`) };
    });
}

/** The last rule that matches decides. */
function isSent(rules: readonly IgnoreRule[], path: string): boolean {
  return rules.findLast(({ pattern }) => pattern.test(path))?.isException ?? true;
}

function workspaces(): string[] {
  const { workspaces: patterns } = JSON.parse(read("package.json")) as {
    readonly workspaces: readonly string[];
  };
  return patterns.flatMap((pattern) => {
    if (!pattern.endsWith("/*")) return [pattern];
    const folder = pattern.slice(0, -2);
    return readdirSync(join(root, folder))
      .filter((name) => existsSync(join(root, folder, name, "package.json")))
      .map((name) => `${folder}/${name}`);
  });
}
