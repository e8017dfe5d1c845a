// auth, collect, dispatch -> here -> redis/audit-log: the acts of operators and users that the audit log records.
// Guarantees: a name is never changed or reused, because it stands in the audit log and in the API that filters by it.
// New ones are appended, so the documented list only grows at its end.

export const auditActions = [
  "key.create",
  "key.update",
  "key.rotate",
  "key.revoke",
  "token.revoke",
  "signing-key.create",
  "signing-key.rotate",
  "signing-key.retire",
  "user.disconnect",
  "user.erase",
  "dead-letter.replay",
  "dead-letter.delete",
  "dead-letter.purge",
  "webhook.create",
  "webhook.update",
  "webhook.delete",
  "webhook.rotate",
  "webhook.replay",
  "webhook.pause",
  "archive.redrive",
  "node.drain",
  "node.undrain",
  "channel.pause",
  "channel.resume",
  "key.suspend",
  "key.resume",
  "key.limit",
] as const;

export type AuditAction = (typeof auditActions)[number];
