// The local run: the end of a service's log, to show why it failed.
// Guarantees: a few short lines; only the messages of structured lines; nothing that a terminal would obey; no
// credential, because output before a logger exists, such as Node's own crash report, was not filtered yet.
import { open } from "node:fs/promises";
import { escapeControls } from "@petrel/shared/kernel/logging/escape-controls";
import { hideSecrets } from "@petrel/shared/kernel/logging/hide-secrets";

const tailBytes = 8 * 1024;
const longestLine = 300;

/** The last lines, oldest first; empty if there is no log. */
export async function lastLogLines(logFile: string, count: number): Promise<string[]> {
  const file = await open(logFile, "r").catch(() => undefined);
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.alloc(Math.min(size, tailBytes)),
      position: Math.max(0, size - tailBytes),
    });
    const lines = buffer.toString("utf8", 0, bytesRead).split("\n");
    return lines
      .filter((line) => line.trim() !== "")
      .slice(-count)
      .map((line) =>
        escapeControls(hideSecrets(wordsOf(line)))
          .replaceAll("\n", " ")
          .slice(0, longestLine),
      );
  } finally {
    await file.close();
  }
}

function wordsOf(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: unknown; err?: { message?: unknown } | null };
    const words = [msg, err?.message].filter((part) => typeof part === "string" && part !== "");
    return words.length > 0 ? words.join(": ") : line;
  } catch {
    return line;
  }
}
