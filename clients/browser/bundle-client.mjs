// `npm pack` -> here -> dist/bundle: the client in one file, for pages without a bundler.
// Guarantees: petrel-client.js is an ES module; petrel-client.global.js makes `Petrel` a global; neither imports anything.
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

rmSync(at("dist/bundle"), { recursive: true, force: true });
const bundle = await rolldown({ input: at("dist/client.js"), platform: "browser" });
// In one file, with what a page loads later otherwise.
const common = { minify: true, sourcemap: true, codeSplitting: false };
await bundle.write({ ...common, format: "esm", file: at("dist/bundle/petrel-client.js") });
await bundle.write({
  ...common,
  format: "iife",
  name: "Petrel",
  file: at("dist/bundle/petrel-client.global.js"),
});
await bundle.close();
