// collect and dispatch -> here: the archive settings that both read from the environment.
// Guarantees: without a URL there is no archive. The URL is checked as far as its text allows.
import { flag, integer, type Setting } from "../kernel/config.js";

/** Where the archive is. The driver's own parser checks the rest when it connects. */
const archiveUrl: { readonly env: string; readonly setting: Setting<string | undefined> } = {
  env: "MESSAGE_ARCHIVE_URL",
  setting: {
    describe:
      "mongodb:// or mongodb+srv:// URL of the message archive, with its database; none by default; the same for collect, dispatch and push-node; see archive.md",
    default: undefined,
    parse: (value) => {
      if (!/^mongodb(\+srv)?:\/\/[^/]/.test(value))
        throw new Error("a URL with mongodb:// or mongodb+srv://");
      return value;
    },
  },
};

export const archiveSettings = {
  messageArchiveUrl: archiveUrl,
  archiveDays: integer(
    "ARCHIVE_DAYS",
    "how many days the archive keeps a message after its acceptance; a scheduled or open one is kept until it has ended; the same for collect, dispatch and push-node",
    { default: 90, min: 1, max: 36_500 },
  ),
  archiveTimeoutMs: integer(
    "ARCHIVE_TIMEOUT_MS",
    "how long the archive may take to answer a write or a read",
    { default: 1_500, min: 50, max: 30_000 },
  ),
} as const;

/** What collect and push-node do while the archive is unavailable. */
export const archiveWritingSettings = {
  archiveRequired: flag(
    "ARCHIVE_REQUIRED",
    "whether a message is refused with 503 while the archive does not answer; `false`: it is accepted and archived later",
    { default: true },
  ),
  archiveSpoolCap: integer(
    "ARCHIVE_SPOOL_CAP",
    "with ARCHIVE_REQUIRED=false: entries of a partition that may wait in Redis for the archive; a message beyond that is accepted but never archived",
    { default: 100_000, min: 1, max: 10_000_000 },
  ),
} as const;

/** How dispatch re-drives messages that Redis has lost. */
export const redriveSettings = {
  redrivePerSecond: integer(
    "ARCHIVE_REDRIVE_PER_SECOND",
    "messages of a partition that Redis has lost and that are sent again from the archive, per second",
    { default: 500, min: 1, max: 100_000 },
  ),
} as const;
