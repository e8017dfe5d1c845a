// deploy/local, testing/cluster -> here: what Node itself is started with, beside a service's script.
// Guarantees: every way to start a service takes it from here; the images' file repeats it, and a test compares them.

/**
 * By service. collect: each message that waits for Redis holds some kilobytes, and under batches those of a thousand.
 * With the young generation's default, some processes met each of them in two collections of it and moved them to the
 * old generation, which then had to be collected too: a half more CPU for a batched message. With twice the room they
 * have ended by the second.
 */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = { collect: ["--max-semi-space-size=32"] };

export function nodeArgumentsOf(service: string): readonly string[] {
  return ARGUMENTS[service] ?? [];
}
