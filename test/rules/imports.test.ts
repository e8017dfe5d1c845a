// Tests the layering: who may import whom, and how files are named and opened.
// Guarantees: the rules of docs/internals/architecture.md hold for every file.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  declaredPackages,
  findCycles,
  packageOf,
  readImports,
  readSources,
  workspaceOf,
  type Import,
  type SourceFile,
} from "../support/repository/read-sources.js";

const sources = readSources();
const production = sources.filter(({ isTest }) => !isTest);

/** The folder under shared/src that a file lies in, such as "redis". */
function layerOf(path: string): string | undefined {
  return /^shared\/src\/([^/]+)\//.exec(path)?.[1];
}

/** Each import that is not allowed, as a line that says who imports what. */
function offences(
  files: readonly SourceFile[],
  isOffence: (one: Import, from: SourceFile) => boolean,
): string[] {
  return files.flatMap((from) =>
    from.imports
      .filter((one) => isOffence(one, from))
      .map(({ specifier }) => `${from.path} imports ${specifier}`),
  );
}

function paths(files: readonly SourceFile[]): string[] {
  return files.map(({ path }) => path);
}

describe("the reader of imports", () => {
  test("finds every kind of import", () => {
    const text = [
      `// import "./comment.js" is none: it does not begin the line`,
      `import a from "./a.js";`,
      `import type { B } from "b";`,
      `import {`,
      `  c,`,
      `  type D,`,
      `} from "@x/c/d";`,
      `import "./side-effect.js";`,
      `export * from "./e.js";`,
      `export type { F } from "node:f";`,
      'const g = await \u0069mport("./g.js");',
      `export const h = { from: "./not-an-import.js" };`,
      'type I = \u0069mport("i").I;',
    ].join("\n");
    expect(readImports(text, "x/y.ts").map(({ specifier, isTypeOnly }) => [specifier, isTypeOnly])).toEqual([
      ["./a.js", false],
      ["b", true],
      ["@x/c/d", false],
      ["./e.js", false],
      ["node:f", true],
      ["./side-effect.js", false],
      ["./g.js", false],
      ["i", false],
    ]);
  });

  test("resolves our own files, and names packages", () => {
    const [own, relative] = readImports(
      `import "@petrel/shared/redis/keys";\nimport "../a/b.js";`,
      "services/x/src/m.ts",
    );
    expect([own?.file, relative?.file]).toEqual(["shared/src/redis/keys.ts", "services/x/a/b.js"]);
    expect(["./a.js", "node:fs", "ws", "@x/c/d", "fastify/types"].map(packageOf)).toEqual([
      undefined,
      undefined,
      "ws",
      "@x/c",
      "fastify",
    ]);
  });

  test("finds a circle", () => {
    const file = (path: string, ...files: string[]): SourceFile => ({
      path,
      text: "",
      isTest: false,
      imports: files.map((one) => ({ specifier: one, isTypeOnly: false, file: one })),
    });
    expect(findCycles([file("a", "b"), file("b", "c", "d"), file("c"), file("d", "b")])).toEqual([
      ["b", "d", "b"],
    ]);
  });

  test("reads the sources of all parts, and their imports", () => {
    for (const part of [
      "shared",
      "services/auth",
      "services/collect",
      "services/dispatch",
      "services/push-node",
    ]) {
      expect(production.filter(({ path }) => workspaceOf(path) === part).length, part).toBeGreaterThan(5);
    }
    const missing = offences(
      sources,
      ({ file }) =>
        file !== undefined && !existsSync(fileURLToPath(new URL(`../../${file}`, import.meta.url))),
    );
    // Some pages load files that only the server puts beside them.
    expect(missing.filter((line) => !line.includes("/public/"))).toEqual([]);
  });
});

describe("shared: each layer imports only those below it", () => {
  const below: Readonly<Record<string, readonly string[]>> = {
    protocol: [],
    kernel: ["protocol"],
    security: ["protocol", "kernel"],
    redis: ["protocol", "kernel"],
    archive: ["protocol", "kernel"],
    service: ["protocol", "kernel", "redis"],
    "embedded-redis": ["protocol", "kernel"],
    testing: ["protocol", "kernel", "security", "redis", "archive", "service", "embedded-redis"],
  };

  test("has no other layers", () => {
    const layers = new Set(
      paths(sources).flatMap((path) => (path.startsWith("shared/") ? [layerOf(path)] : [])),
    );
    expect(layers).toEqual(new Set(Object.keys(below)));
  });

  test.each(Object.entries(below))("%s -> %j", (layer, allowed) => {
    const files = production.filter(({ path }) => layerOf(path) === layer);
    const all = layer === "testing" ? sources.filter(({ path }) => layerOf(path) === layer) : files;
    expect(all.length).toBeGreaterThan(0);
    expect(
      offences(all, ({ file }) => {
        if (file === undefined) return false;
        const target = layerOf(file);
        return target === undefined || (target !== layer && !allowed.includes(target));
      }),
    ).toEqual([]);
  });

  test("protocol imports nothing from outside: browsers run it", () => {
    const files = production.filter(({ path }) => layerOf(path) === "protocol");
    expect(offences(files, ({ file }) => file === undefined)).toEqual([]);
  });
});

describe("between the parts", () => {
  /** What the files of a workspace may import from another one. */
  const reachable: Readonly<Record<string, readonly string[]>> = {
    shared: [],
    "clients/browser": [],
    "clients/server": [],
    "clients/cli": ["clients/browser", "clients/server", "shared"],
  };

  test("services import shared only, never one another; shared imports none of them", () => {
    expect(
      offences(production, ({ file }, { path }) => {
        if (file === undefined || path.startsWith("examples/") || path.startsWith("bench/")) return false;
        const [from, to] = [workspaceOf(path), workspaceOf(file)];
        return from !== to && !(reachable[from] ?? ["shared"]).includes(to);
      }),
    ).toEqual([]);
  });

  test("production never imports test code", () => {
    const shipped = production.filter(({ path }) => !path.startsWith("bench/"));
    expect(
      offences(shipped, ({ file }) => file !== undefined && /(^|\/)testing\/|\.test\.|^test\//.test(file)),
    ).toEqual([]);
  });

  test("the browser client has no dependencies, the backend client only Node", () => {
    const files = production.filter(({ path }) => /^clients\/browser\/src\/(?!react\/)/.test(path));
    expect(offences(files, ({ file }) => file === undefined)).toEqual([]);
    const server = production.filter(({ path }) => path.startsWith("clients/server/"));
    expect(server.length).toBeGreaterThan(10);
    expect(
      offences(server, ({ specifier, file }) => file === undefined && !specifier.startsWith("node:")),
    ).toEqual([]);
  });

  test("packages are declared where they are imported", () => {
    const inWorkspaces = production.filter(({ path }) =>
      /^(shared|services|clients|deploy|bench)\//.test(path),
    );
    expect(
      offences(inWorkspaces, ({ specifier, file }, { path }) => {
        const name = packageOf(specifier);
        if (name === undefined || path.includes("/public/")) return false;
        if (file !== undefined && workspaceOf(file) === workspaceOf(path)) return true;
        return !declaredPackages(workspaceOf(path)).has(name);
      }),
    ).toEqual([]);
  });

  test("has no circular imports", () => {
    expect(findCycles(sources)).toEqual([]);
  });
});

describe("what belongs to one technology stays in its place", () => {
  const isFrom = (specifier: string, ...names: string[]) => names.includes(packageOf(specifier) ?? "");

  test("ioredis: in shared/src/redis (and the benchmark's contender)", () => {
    const elsewhere = sources.filter(({ path }) => !/^shared\/src\/redis\/|^bench\//.test(path));
    expect(offences(elsewhere, ({ specifier }) => isFrom(specifier, "ioredis"))).toEqual([]);
  });

  test("ws: in the push node's connection code, the CLI, the benchmark and tests", () => {
    const elsewhere = production.filter(
      ({ path }) =>
        !/^services\/push-node\/src\/(app\.ts$|connect\/|connection\/)|^clients\/cli\/|^bench\/|^examples\//.test(
          path,
        ),
    );
    expect(offences(elsewhere, ({ specifier }) => isFrom(specifier, "ws"))).toEqual([]);
  });

  test("TypeBox: only its types, of which nothing is left when a service starts", () => {
    expect(offences(production, (one) => isFrom(one.specifier, "typebox") && !one.isTypeOnly)).toEqual([]);
  });

  test("OpenTelemetry: in two files of the kernel, loaded only with tracing on", () => {
    const own = /^shared\/src\/kernel\/tracing\/(open-telemetry|span-file)\.ts$/;
    const elsewhere = sources.filter(({ path }) => !own.test(path));
    expect(offences(elsewhere, ({ specifier }) => specifier.startsWith("@opentelemetry/"))).toEqual([]);
    const importing = production.filter(({ imports }) =>
      imports.some(({ file, isTypeOnly }) => !isTypeOnly && file !== undefined && own.test(file)),
    );
    expect(paths(importing).sort()).toEqual([
      "shared/src/kernel/tracing/open-telemetry.ts",
      "shared/src/kernel/tracing/open-tracing.ts",
    ]);
    for (const { path, text } of importing) {
      expect(/^import (?!type ).*(open-telemetry|span-file)\.js/m.test(text), path).toBe(false);
    }
  });

  const isFastify = ({ specifier }: Import) => /^(fastify$|fastify\/|@fastify\/)/.test(specifier);

  const makesFastify = /^shared\/src\/kernel\/http\/(http-app|serve-document)\.ts$/;

  test("fastify: created in two files of kernel/http, extended in the apps", () => {
    const elsewhere = production.filter(
      ({ path }) => !makesFastify.test(path) && !/^services\/[a-z-]+\/src\/app\.ts$/.test(path),
    );
    expect(offences(elsewhere, (one) => isFastify(one) && !one.isTypeOnly)).toEqual([]);
  });

  test("… and its types: also in routes, in what runs before them, and in the connection code", () => {
    const elsewhere = production.filter(
      ({ path }) =>
        !makesFastify.test(path) &&
        path !== "shared/src/kernel/schemas/compile-when-used.ts" &&
        !/^services\/[a-z-]+\/src\/(app\.ts$|routes\/|connect\/)/.test(path),
    );
    expect(offences(elsewhere, isFastify)).toEqual([]);
  });

  test("only main.ts, the CLI and the benchmark read the environment", () => {
    const readers = production.filter(
      ({ path, text }) =>
        /\bprocess\.env\b|\benv\s*\}\s*=\s*process\b|import \{[^}]*\benv\b[^}]*\} from "node:process"/.test(
          withoutComments(text),
        ) && !/\/src\/([a-z-]+\/)?main\.ts$|^clients\/cli\/|^bench\//.test(path),
    );
    expect(paths(readers)).toEqual([]);
  });
});

describe("files", () => {
  test("are named in kebab-case, after their duty", () => {
    const wrong = paths(sources).filter(
      (path) => !/^([a-z0-9]+(-[a-z0-9]+)*)((\.realtime)?\.test)?\.(ts|js)$/.test(fileName(path)),
    );
    expect(wrong).toEqual([]);
    const vague = paths(sources).filter((path) =>
      /^(utils?|types?|helpers?|common|misc|index)\./.test(fileName(path)),
    );
    expect(vague).toEqual([]);
  });

  test("none only re-exports", () => {
    const barrels = sources.filter(({ text }) => /^export \* from/m.test(text));
    expect(paths(barrels)).toEqual([]);
  });

  test("each opens with a comment that says its place", () => {
    const silent = sources.filter(({ text }) => !text.replace(/^#!.*\n/, "").startsWith("// "));
    expect(paths(silent)).toEqual([]);
  });

  test("none silences the compiler or the linter, and none says any", () => {
    const silencing = sources.filter(
      ({ path, text }) =>
        path !== "test/rules/imports.test.ts" &&
        /@ts-(ignore|nocheck|expect-error)|(eslint|oxlint)-disable|\bas any\b|: any\b/.test(text),
    );
    expect(paths(silencing)).toEqual([]);
  });
});

function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function withoutComments(text: string): string {
  return text.replace(/^\s*(\/\/|\/?\*).*$/gm, "");
}
