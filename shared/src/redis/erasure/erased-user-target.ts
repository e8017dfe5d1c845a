// collect/erase-user -> here -> redis/audit-log: how the audit log names a person who was erased.
// Guarantees: whoever knows a user id finds its erasure; whoever reads the log is not told the id.
import { createHash } from "node:crypto";

/**
 * `sha256:` and the SHA-256 of the user id, lower-case hex. A pseudonym, no more: ids that can be guessed can be tried.
 */
export function erasedUserTarget(userId: string): string {
  return `sha256:${createHash("sha256").update(userId).digest("hex")}`;
}
