// bundle-services -> here: the start of a bundled process, with the compiled code that a former start of it left.
// Guarantees: compiled code of another Node or set of flags is not taken; without any, a start only takes longer. Nothing
// changes a bundle once it stands: V8 compares no more than the length of its text.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { deserialize, serialize } from "node:v8";
import { constants, Script } from "node:vm";

type Run = (
  exports: object,
  require: (specifier: string) => unknown,
  module: { readonly exports: object },
  file: string,
  folder: string,
) => void;

/** @param entry a file in CommonJS; those that it requires by a relative path are taken in the same way */
export function loadCompiled(entry: string): void {
  const kept = `${entry}.compiled-by-${process.version}`;
  const compiled = existsSync(kept) ? (deserialize(readFileSync(kept)) as Map<string, Buffer>) : undefined;
  const scripts = new Map<string, Script>();
  const modules = new Map<string, { readonly exports: object }>();
  const load = (file: string): object => {
    const known = modules.get(file);
    if (known !== undefined) return known.exports;
    const cachedData = compiled?.get(file);
    const text = readFileSync(file, "utf8");
    const script = new Script(`(function (exports, require, module, __filename, __dirname) {${text}\n})`, {
      filename: file,
      ...(cachedData === undefined ? {} : { cachedData }),
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    scripts.set(file, script);
    const module = { exports: {} };
    modules.set(file, module);
    const requirePackage = createRequire(file);
    const require = (specifier: string): unknown =>
      specifier.startsWith(".") ? load(resolve(dirname(file), specifier)) : requirePackage(specifier);
    (script.runInThisContext() as Run)(module.exports, require, module, file, dirname(file));
    return module.exports;
  };
  if (compiled === undefined) {
    // At the end it holds each function that has run. A failed start has not run most.
    process.once("exit", (code) => {
      if (code !== 0 || existsSync(kept)) return;
      const aside = `${kept}.${process.pid}`;
      writeFileSync(
        aside,
        serialize(new Map([...scripts].map(([file, script]) => [file, script.createCachedData()]))),
      );
      renameSync(aside, kept);
    });
  }
  load(entry);
}
