// One JSON line per event, on stdout, from every service.
// Guarantees: credentials do not reach a line: fields that hold them are removed by name, errors keep only what says
// what happened, and what still has the form of a credential is replaced at last. A terminal that shows a line obeys
// nothing in it. An outage that everybody meets is told once a second, not by everybody.
import { pino, type Level, type Logger, type LogFn } from "pino";
import { describeErrorForLog } from "./describe-error-for-log.js";
import { escapeControls } from "./escape-controls.js";
import { hideSecrets } from "./hide-secrets.js";
import { createLineCount } from "./thin-out-lines.js";

export type { Logger } from "pino";

export interface LoggingOptions {
  readonly service: string;
  readonly level: string;
}

const WARN: number = pino.levels.values["warn" satisfies Level] ?? 40;

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
  const countOf = createLineCount();
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
    hooks: {
      streamWrite: (line: string) => escapeControls(hideSecrets(line)),
      logMethod(this: Logger, args: Parameters<LogFn>, write: LogFn, lineLevel: number) {
        const [fields, text] = args as readonly unknown[];
        const times = lineLevel < WARN ? 1 : countOf(lineLevel, fields, text);
        if (times === 0) return;
        if (times > 1 && !(fields instanceof Error))
          write.call(this, { ...(fields as object), times }, text as string);
        else write.apply(this, args);
      },
    },
  };
  return pino(options, stdout);
}
