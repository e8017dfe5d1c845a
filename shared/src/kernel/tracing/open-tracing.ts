// main -> here: tracing as configured.
// Guarantees: if it is off, nothing of OpenTelemetry is loaded. Incomplete settings end the start with a line that says
// what is missing. The stop exports the remaining spans, within a bound.
import { ConfigError } from "../config.js";
import type { Lifecycle } from "../lifecycle/lifecycle.js";
import type { TracingDeps, TracingSettings } from "./open-telemetry.js";
import { NO_TRACING, type Tracing } from "./tracing.js";

/**
 * Call it before opening the parts that use it, so that it closes after them.
 * @throws ConfigError; what `open` throws if TRACE_FILE cannot be written
 */
export async function openTracing(
  settings: TracingSettings,
  deps: TracingDeps & { readonly lifecycle: Pick<Lifecycle, "onStop"> },
): Promise<Tracing> {
  const { tracing: mode, traceFile } = settings;
  if (mode === "off") return NO_TRACING;
  if (mode === "file" && traceFile === undefined) throw new ConfigError("TRACING=file needs TRACE_FILE");
  const { startOpenTelemetry } = await import("./open-telemetry.js");
  const { tracing, stop } = await startOpenTelemetry(settings, deps);
  deps.lifecycle.onStop("tracing", stop);
  const where = mode === "file" ? traceFile : new URL(settings.otlpEndpoint).host;
  deps.logger.info({ tracing: mode, where, sampleRatio: settings.traceSampleRatio }, "tracing is on");
  return tracing;
}
