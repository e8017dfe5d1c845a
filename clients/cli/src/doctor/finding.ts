// doctor/check-services, doctor/judge-redis -> here: what one check found.

/** `skipped`: it could not be looked at, which proves nothing. */
export type Level = "ok" | "warning" | "error" | "skipped";

export interface Finding {
  /** Such as "redis eviction". */
  readonly check: string;
  readonly level: Level;
  /** What was seen, in plain words. */
  readonly says: string;
  /** How to mend it. */
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

export function skipped(check: string, says: string): Finding {
  return { check, level: "skipped", says };
}
