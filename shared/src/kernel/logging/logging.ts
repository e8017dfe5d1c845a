// One JSON line per event, on stdout, from every service.
// Guarantees: no credential reaches a line: fields that hold one are removed by name, errors keep only what describes
// them, and anything that still looks like one is replaced last. A line cannot control the terminal that shows it. An
// outage that every request meets is logged once a minute, not once per request. A slow reader of stdout holds up
// nothing, and the last lines are written whether the process stops, fails or crashes (line-writer).
import { pino, type Level, type Logger, type LogFn } from "pino";
import { describeErrorForLog } from "./describe-error-for-log.js";
import { escapeControls } from "./escape-controls.js";
import { hideSecrets } from "./hide-secrets.js";
import { LineWriter } from "./line-writer.js";
import { ThinOutLines } from "./thin-out-lines.js";

export type { Logger } from "pino";

export interface LoggingOptions {
  readonly service: string;
  readonly level: string;
  /** A file to append to, instead of stdout: for services that share a process. */
  readonly file?: string;
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

export function createLogger({ service, level, file }: LoggingOptions): Logger {
  const thinOut = new ThinOutLines();
  const lines = new LineWriter({
    fd: 1,
    onDropped: (count) => logger.warn({ lines: count }, "log lines dropped: stdout is read too slowly"),
  });
  const stdout = {
    write: (line: string) => lines.write(line),
    flush: (done: () => void) => {
      thinOut.flush();
      lines.flush(done);
    },
    // Called by pino for fatal lines.
    flushSync: () => {
      thinOut.flush();
      lines.flushSync();
    },
  };
  // Set explicitly: otherwise pino flushes again at exit, and retries forever if nobody reads our output.
  const output = file === undefined ? stdout : pino.destination({ dest: file, sync: true });
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
    // JSON leaves U+007F to U+009F unescaped, and a terminal obeys them.
    hooks: {
      streamWrite: (line: string) => escapeControls(hideSecrets(line)),
      logMethod(this: Logger, args: Parameters<LogFn>, write: LogFn, lineLevel: number) {
        const [fields, text] = args as readonly unknown[];
        if (lineLevel < WARN) {
          write.apply(this, args);
          return;
        }
        thinOut.line(lineLevel, fields, text, (times) => {
          if (times > 1 && !(fields instanceof Error))
            write.call(this, { ...(fields as object), times }, text as string);
          else write.apply(this, args);
        });
      },
    },
  };
  const logger: Logger = pino(options, output);
  return logger;
}
