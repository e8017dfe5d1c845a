// upstream -> here: up to where the tabs' acknowledgements may be passed on.
// Guarantees: with `any`, the furthest tab decides; with `all`, nothing is acknowledged that a tab still owes, unless it
// wants no messages, or has been silent for too long.

export type SharedAck = "any" | "all";

export interface TabAck {
  /** Everything up to here is acknowledged by this tab. */
  readonly acked: number;
  /** Everything up to here was sent to it. */
  readonly sent: number;
  /** Whether its application listens for messages. */
  readonly wants: boolean;
  /** When it last said anything. */
  readonly heardAtMs: number;
}

/** @returns a seq; 0 where nothing may be acknowledged */
export function ackedBy(
  policy: SharedAck,
  tabs: readonly TabAck[],
  { nowMs, silentMs }: { readonly nowMs: number; readonly silentMs: number },
): number {
  const furthest = Math.max(0, ...tabs.map(({ acked }) => acked));
  if (policy === "any") return furthest;
  const owing = tabs.filter(
    ({ acked, sent, wants, heardAtMs }) => wants && acked < sent && nowMs - heardAtMs < silentMs,
  );
  // Those that owe nothing have all that came.
  return Math.min(furthest, ...owing.map(({ acked }) => acked));
}
