// A service's configuration -> here -> open-tracing: whether and where its spans go. Every service reads the same
// variables.
import { choice, optionalText, url } from "../config.js";

/** Spread these into a service's schema. */
export const tracingSettings = {
  tracing: choice(
    "TRACING",
    "spans of messages' ways: none, to an OpenTelemetry collector (OTLP over HTTP), or to a file; see tracing.md",
    { of: ["off", "otlp", "file"], default: "off" },
  ),
  traceSampleRatio: {
    env: "TRACE_SAMPLE_RATIO",
    setting: {
      describe:
        "of the requests that bring no `traceparent`, how many are traced: from 0, none, to 1, all; those that bring one " +
        "say so themselves",
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
    "with TRACING=file: where spans are appended, a line of JSON each; several processes may share it",
  ),
  otlpEndpoint: url(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "with TRACING=otlp: the collector, to whose /v1/traces spans are posted",
    { default: "http://127.0.0.1:4318", protocols: ["http", "https"] },
  ),
} as const;
