// push-node/topics/topic-memberships -> here: the port that learns that users of this node have a topic, and want to
// know who else has it.
// Guarantees: each call is about an active subscription, and comes in the turn in which it changed.
import type { Subscription } from "../connection/connection.js";

export interface TopicPresence {
  /** `subscribed` was sent: its user has the topic here, through one more connection. */
  readonly joined: (subscription: Subscription) => void;
  /** It has ended. */
  readonly left: (subscription: Subscription) => void;
  /** Its client wants to know who is there, or no longer does: see `hasPresence`. */
  readonly watched: (subscription: Subscription) => void;
  /** A text on the topic's channel says that presence has changed. */
  readonly changed: (topic: string) => void;
}
