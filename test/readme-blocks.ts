// Tests only: the README's code, as a reader would paste it.
// Guarantees: exactly the blocks that say which test runs them.
import { readFileSync } from "node:fs";

/**
 * @param language the block's, such as `sh`
 * @param testFile the test that the comment before the block names
 */
export function readmeBlocks(language: string, testFile: string): string[] {
  const text = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const blocks = text.matchAll(/<!-- runs in (\S+) -->\n```(\w+)\n([\s\S]*?)```/g);
  return [...blocks].flatMap(([, named, kind, code]) =>
    named === testFile && kind === language && code !== undefined ? [code] : [],
  );
}
