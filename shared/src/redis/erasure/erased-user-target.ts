// collect/erase-user -> here -> redis/audit-log: how the audit log names an erased user.
// Guarantees: whoever knows the user id finds its erasure; the log does not reveal the id.
import { createHash } from "node:crypto";

/** `sha256:` and the SHA-256 of the user id, lower-case hex. Only a pseudonym: guessable ids can be tried. */
export function erasedUserTarget(userId: string): string {
  return `sha256:${createHash("sha256").update(userId).digest("hex")}`;
}
