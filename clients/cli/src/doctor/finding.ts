// doctor/check-services, doctor/judge-redis -> here: what one check found.

/** `skipped`: it could not be checked, which proves nothing. */
export type Level = "ok" | "warning" | "error" | "skipped";

export interface Finding {
  /** Such as "redis eviction". */
  readonly check: string;
  readonly level: Level;
  /** What was seen, in plain words. */
  readonly says: string;
  /** How to fix it. */
  readonly mend?: string;
}

export function ok(check: string, says: string): Finding {
  return { check, level: "ok", says };
}

export function warning(check: string, says: string, mend: string): Finding {
  return { check, level: "warning", says, mend };
}

export function failure(check: string, says: string, mend: string): Finding {
  return { check, level: "error", says, mend };
}

/** How to fix a refused call: the advice differs for a stopped service, a wrong key and a silent Redis. */
export function mendOf(message: string, otherwise: string): string {
  if (message.includes("PETREL_KEY_SUSPENDED")) return "petrel keys resume ID, with another key.";
  if (message.includes("answered 401"))
    return "Is --key (or PETREL_KEY) a whole KEY.SECRET of this cluster, and not revoked?";
  if (message.includes("answered 403")) return "Use a key with the scope admin.";
  if (message.includes("answered 503"))
    return "It needs Redis for that: look at Redis itself with --redis-url.";
  return otherwise;
}

export function skipped(check: string, says: string): Finding {
  return { check, level: "skipped", says };
}
