// Tests only: the code blocks of the README, or of another page, as a reader would paste them.
// Guarantees: exactly the blocks that name the given test.
import { readFileSync } from "node:fs";

/**
 * @param language the block's, such as `sh`
 * @param testFile the test that the comment before the block names
 * @param page from the repository's root
 */
export function readmeBlocks(language: string, testFile: string, page = "README.md"): string[] {
  const text = readFileSync(new URL(`../../../${page}`, import.meta.url), "utf8");
  const blocks = text.matchAll(/<!-- runs in (\S+) -->\n```(\w+)\n([\s\S]*?)```/g);
  return [...blocks].flatMap(([, named, kind, code]) =>
    named === testFile && kind === language && code !== undefined ? [code] : [],
  );
}
