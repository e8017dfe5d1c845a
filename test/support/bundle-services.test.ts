// What a bundled process starts from: a small main in place of a service's.
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SERVICE_BUNDLES } from "../../shared/src/testing/cluster/service-files.js";
import { bundleProcesses } from "./bundle-services.js";

const MAIN = "services/small/dist/main.js";
let tree: string;
let bundles: string;

beforeAll(async () => {
  tree = mkdtempSync(join(tmpdir(), "petrel-bundles-"));
  bundles = join(tree, "bundled");
  const folder = join(tree, "services/small/dist");
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "run-main.js"),
    `export async function runMain() {
  console.log("first");
  process.exit(Number(process.env.EXIT_CODE));
}
`,
  );
  writeFileSync(join(tree, MAIN), `import { runMain } from "./run-main.js";\nawait runMain();\n`);
  await bundleProcesses(tree, [MAIN], bundles);
});
afterAll(() => rmSync(tree, { recursive: true, force: true }));

const compiled = (): string[] =>
  readdirSync(join(bundles, "services/small/dist")).filter((name) => name.includes("compiled"));
const start = (): string =>
  execFileSync(process.execPath, [join(bundles, MAIN)], { env: { EXIT_CODE: "0" }, encoding: "utf8" });

it("a start that fails leaves no compiled code, the first that ends well leaves it to the next", () => {
  expect(spawnSync(process.execPath, [join(bundles, MAIN)], { env: { EXIT_CODE: "1" } }).status).toBe(1);
  expect(compiled()).toEqual([]);

  expect(start()).toBe("first\n");
  expect(compiled()).toEqual([`main.cjs.compiled-by-${process.version}`]);

  // V8 compares only the text's length, so what was compiled shows.
  const script = join(bundles, MAIN).replace(/\.js$/, ".cjs");
  expect(existsSync(script)).toBe(true);
  writeFileSync(script, readFileSync(script, "utf8").replace('"first"', '"other"'));
  expect(start()).toBe("first\n");
  rmSync(join(bundles, "services/small/dist", compiled()[0] ?? ""));
  expect(start()).toBe("other\n");
});

it("what a service resolves as it runs, from the framework's place, is in the bundle", async () => {
  const main = "services/resolving/dist/main.js";
  const compiler = join(tree, "node_modules/small-compiler");
  for (const folder of [compiler, join(tree, "services/resolving/dist")])
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(compiler, "index.js"), `module.exports = "compiled";\n`);
  writeFileSync(
    join(tree, main),
    `import { createRequire } from "node:module";
const requireOfFramework = createRequire(import.meta.url);
console.log(requireOfFramework("small-compiler"));
`,
  );
  const directory = join(tree, "resolved");
  await bundleProcesses(tree, [main], directory);
  rmSync(compiler, { recursive: true });
  expect(execFileSync(process.execPath, [join(directory, main)], { encoding: "utf8" })).toBe("compiled\n");
});

const ofThisRun = process.env[SERVICE_BUNDLES];

it.runIf(ofThisRun !== undefined)(
  "the loader loads no part of a service as Node does, without its compiled code",
  () => {
    const loader = readFileSync(join(ofThisRun ?? "", "load-compiled.cjs"), "utf8");
    expect(loader.match(/require\("[^"]+"\)/g)?.filter((found) => !found.includes('"node:'))).toEqual([]);
  },
);
