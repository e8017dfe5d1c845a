// check-history, check-wire -> here: the violations that a recorded history can show. Types only;
// docs/internals/chaos.md lists the same kinds.

export type ViolationKind =
  /** Accepted, and neither delivered, pushed, published, expired, cancelled nor failed. */
  | "lost"
  /** Reported as delivered, but no application got it. */
  | "delivered-unseen"
  /** Its application got it, but it is reported as pushed or failed. */
  | "handled-undelivered"
  /** Reported as pushed, but no channel was called. */
  | "pushed-unsent"
  /** Reported as expired, long before its time. */
  | "expired-early"
  /** An application got it twice. */
  | "handled-twice"
  /** An application got it before one that was sent, and answered, earlier. */
  | "handled-out-of-order"
  /** Somebody else's, with other data than was sent, or under another id. */
  | "handled-wrong"
  /** Nobody sent it, or it was refused. */
  | "never-sent"
  /** A connection saw a seq that is not above the one before. */
  | "seq-not-rising"
  /** A connection never saw a seq, though its message did not end another way. */
  | "seq-skipped"
  /** Two messages of a user share a number. */
  | "seq-reused"
  /** The same message twice on a client's wire before any fault. */
  | "wire-duplicate-without-fault"
  /** A client acknowledged what it had not been sent. */
  | "ack-beyond-sent"
  /** A fallback channel was called again, though nothing befell a dispatcher or Redis in between. */
  | "fallback-twice"
  /** A fallback channel was called for a message that allows none. */
  | "fallback-unasked"
  /** Nobody is connected and nothing is broken, yet a channel is called only after a long time. */
  | "fallback-late"
  /** A device was never shown a message, and no `resumed: false` told it so. */
  | "hole-untold"
  /** A device was told that it resumes, in an epoch or after a number that it has never seen. */
  | "resumed-wrongly"
  /** A user got a new epoch though Redis has lost nothing. */
  | "epoch-without-loss"
  /** A device was asked to move over and over. */
  | "moved-endlessly"
  /** A kept connection that was in use was cut or refused at a planned stop. */
  | "stop-refused"
  /** Something of an erased person was kept, shown or pushed afterwards. */
  | "erased-came-back"
  /** A connection of an erased person was never closed. */
  | "erased-stays-connected"
  /** A topic's message before its `subscribed`, or after its `unsubscribed`. */
  | "topic-unannounced"
  /** A connection or an application saw an offset that is not above the one before. */
  | "topic-not-rising"
  /** A connection was sent an offset, and never one before it. */
  | "topic-skipped"
  /** `recovered: true` named a newest offset below what the connection had been sent. */
  | "topic-turned-back"
  /** `recovered: true` where no position was given. */
  | "topic-recovered-wrongly"
  /** Two subscribers saw different messages under one offset, or one message under two. */
  | "topic-two-orders"
  /** A message that was sent after another one's answer stands before it. */
  | "topic-out-of-order"
  /** An application got a topic's message twice. */
  | "topic-handled-twice"
  /** An application never got a topic's message, and was not told of a hole. */
  | "topic-hole-untold";

export interface Violation {
  readonly kind: ViolationKind;
  /** Which messages, users and connections show it. */
  readonly detail: string;
}
