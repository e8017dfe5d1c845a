// Tests only: a page's script in one piece, with what it imports.
// Guarantees: React as in development, where StrictMode does what it is for; `@petrel/client` is what was built.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** @param script from the repository's root */
export function bundlePage(script: string): Promise<string> {
  return bundle(script, "iife");
}

/** For a page that imports it by its address: a module, as it would be without a bundler. */
export function bundleClient(): Promise<string> {
  return bundle("clients/browser/dist/client.js", "esm");
}

async function bundle(input: string, format: "iife" | "esm"): Promise<string> {
  const made = await rolldown({
    input: fileURLToPath(new URL(`../../../${input}`, import.meta.url)),
    platform: "browser",
    transform: { define: { "process.env.NODE_ENV": '"development"' } },
  });
  try {
    const { output } = await made.generate({ format, codeSplitting: false });
    return output[0].code;
  } finally {
    await made.close();
  }
}
