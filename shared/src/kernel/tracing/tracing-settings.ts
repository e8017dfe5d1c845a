// A service's configuration -> here -> open-tracing: whether and where its spans go. Every service reads the same
// variables.
import { choice, optionalText, url } from "../config.js";

/** Spread these into a service's schema. */
export const tracingSettings = {
  tracing: choice(
    "TRACING",
    "where spans go: nowhere (`off`), to an OpenTelemetry collector over HTTP (`otlp`), or to a file (`file`); see tracing.md",
    { of: ["off", "otlp", "file"], default: "off" },
  ),
  traceSampleRatio: {
    env: "TRACE_SAMPLE_RATIO",
    setting: {
      describe:
        "share of requests without a `traceparent` that are traced, from 0 (none) to 1 (all); a request with one decides for itself",
      default: 0.01,
      parse: (text: string): number => {
        const ratio = Number(text);
        if (!/^(0|1|[01]?\.\d+)$/.test(text) || ratio > 1) {
          throw new Error(`a number from 0 to 1, not ${JSON.stringify(text)}`);
        }
        return ratio;
      },
    },
  },
  traceFile: optionalText(
    "TRACE_FILE",
    "file that TRACING=file appends spans to, one JSON object a line; several processes may share it",
  ),
  otlpEndpoint: url(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "collector for TRACING=otlp; spans are posted to its /v1/traces",
    { default: "http://127.0.0.1:4318", protocols: ["http", "https"] },
  ),
} as const;
