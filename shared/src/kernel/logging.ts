// One JSON line per event, on stdout, from every service.
// Guarantees: credentials do not reach a line: fields that hold them are removed by name, errors keep only what says
// what happened, and what still has the form of a credential is replaced at last. A terminal that shows a line obeys
// nothing in it.
import { pino, type Logger } from "pino";
import { describeErrorForLog } from "./describe-error-for-log.js";
import { escapeControls } from "./escape-controls.js";
import { hideSecrets } from "./hide-secrets.js";

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
    serializers: {
      err: (error: unknown) => describeErrorForLog(error),
      error: (error: unknown) => describeErrorForLog(error),
    },
    // JSON leaves U+007F to U+009F as they are, and a terminal obeys them.
    hooks: { streamWrite: (line: string) => escapeControls(hideSecrets(line)) },
  };
  return pino(options, stdout);
}
