// Tests only: the size of a test's load.
// Guarantees: `npm run test:full` runs the stated sizes, `npm test` smaller ones that show the same.

/** @param full the stated size; @param small the size for the quick suite */
export function sized(full: number, small: number): number {
  return process.env["PETREL_TEST_SIZE"] === "full" ? full : small;
}
