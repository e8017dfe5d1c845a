// signing-keyring -> here -> redis/audit-log: signing keys whose state changed on schedule.
// Guarantees: each transition is recorded once, by the process that made it.
import type { AuditAction } from "@petrel/shared/protocol/audit-actions";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { SigningKeyRecord, SigningKeyState } from "@petrel/shared/redis/auth/signing-keys-store";

const actions: Readonly<Record<SigningKeyState, AuditAction>> = {
  upcoming: "signing-key.create",
  active: "signing-key.rotate",
  retired: "signing-key.retire",
  withdrawn: "signing-key.retire",
};

export function auditTransitions(audit: AuditLog): (key: SigningKeyRecord) => void {
  return ({ kid, alg, state }) => {
    // Fire and forget: `record` never rejects, and no request waits for it.
    void audit.record({ actor: "system", action: actions[state], target: kid, details: { alg, state } });
  };
}
