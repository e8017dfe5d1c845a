// push-node/topics/topic-memberships -> here: who is told that users of this node have a topic, and want to know who
// else has it.
// Guarantees: each call is about a subscription that stands, and comes in the turn in which it changed.
import type { Subscription } from "../connection/connection.js";

export interface TopicPresence {
  /** `subscribed` was sent: its user has the topic here, by one connection more. */
  readonly joined: (subscription: Subscription) => void;
  /** It has ended. */
  readonly left: (subscription: Subscription) => void;
  /** Its client wants to know who is there, or no longer: see `hasPresence`. */
  readonly watched: (subscription: Subscription) => void;
  /** A text on the topic's channel says that who is there has changed. */
  readonly changed: (topic: string) => void;
}
