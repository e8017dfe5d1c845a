// Tests only: a page's script in one piece, with what it imports.
// Guarantees: React as in development, where StrictMode does what it is for; `@petrel/client` is what was built.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** @param script from the repository's root */
export async function bundlePage(script: string): Promise<string> {
  const bundle = await rolldown({
    input: fileURLToPath(new URL(`../../../${script}`, import.meta.url)),
    platform: "browser",
    transform: { define: { "process.env.NODE_ENV": '"development"' } },
  });
  try {
    const { output } = await bundle.generate({ format: "iife", codeSplitting: false });
    return output[0].code;
  } finally {
    await bundle.close();
  }
}
