// Tests only: how large a load a test runs with.
// Guarantees: `npm run test:full` runs the stated sizes, `npm test` smaller ones that show the same.

/** @param full the stated size; @param small the size where the whole suite should end soon */
export function sized(full: number, small: number): number {
  return process.env["PETREL_TEST_SIZE"] === "full" ? full : small;
}
