// Tests only: the environment of a program in Go that is over in a moment.
// Guarantees: it frees memory at its end at the latest; collecting garbage before would take a third of its time.

/** @param environment of the caller */
export function withoutCollection(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...environment, GOGC: "800" };
}
