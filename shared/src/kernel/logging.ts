// One JSON line per event, on stdout, from every service.
// Guarantees: credentials do not reach a line: the headers and fields that hold them are removed.
import { pino, type Logger } from "pino";

export type { Logger } from "pino";

export interface LoggingOptions {
  readonly service: string;
  readonly level: string;
}

const secretPaths = [
  "authorization",
  "token",
  "accessToken",
  "refreshToken",
  "secret",
  "apiSecret",
  "ticket",
  "password",
];

export function createLogger({ service, level }: LoggingOptions): Logger {
  // Said outright, or pino flushes once more at the exit, and tries that for ever where nobody reads our output any more.
  const stdout = pino.destination({ dest: 1, sync: true });
  const options = {
    level,
    base: { service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: secretPaths.flatMap((path) => [path, `*.${path}`, `req.headers.${path}`]),
      censor: "[redacted]",
    },
    serializers: { err: pino.stdSerializers.err, error: pino.stdSerializers.err },
  };
  return pino(options, stdout);
}
