// Bench: one clock for all processes of this machine.
// Guarantees: microseconds of the kernel's monotonic clock, the same in every process.

export function monotonicUs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000_000 + nanoseconds / 1000;
}
