#!/usr/bin/env node
// The `petrel` command: starts what the build has made of ../src.
// Guarantees: one clear line where it is not built yet.
import { existsSync } from "node:fs";

const main = new URL("../dist/main.js", import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  process.stderr.write("petrel: not built yet. Run `npm ci && npm run build` in Petrel's directory first.\n");
  process.exitCode = 1;
}
