// push-node/frames/handle-frame -> here -> push-node/topics/{topic-requests, publish-for-client}: frames about topics.
// Guarantees: a mistake in a frame is answered with an `error` that names it, and closes nothing.
import type {
  PublishFrame,
  SubscribeFrame,
  TopicWish,
  UnsubscribeFrame,
} from "@petrel/shared/protocol/frames/client-frames";
import { BROADCAST_TOPIC, isTopicName } from "@petrel/shared/protocol/topics/topic-name";
import type { Connection } from "../connection/connection.js";
import type { PublishForClient } from "./publish-for-client.js";
import { refuseTopicFrame } from "./refuse-topic-frame.js";
import type { TopicRequest, TopicRequests } from "./topic-requests.js";

export type TopicFrame = SubscribeFrame | UnsubscribeFrame | PublishFrame;
export type HandleTopicFrame = (connection: Connection, frame: TopicFrame) => void;

/** The most topics in one frame. */
const MAX_WISHES = 100;
/** This many topics in a frame count as one frame. */
const WISHES_PER_FRAME = 10;

/** How many frames it counts as: a returning client asks for all its topics at once. */
export function costOfTopicFrame(frame: TopicFrame): number {
  return frame.type === "publish" ? 1 : Math.max(1, Math.ceil(frame.topics.length / WISHES_PER_FRAME));
}

export function createHandleTopicFrame(
  requests: Pick<TopicRequests, "take">,
  publish: PublishForClient,
): HandleTopicFrame {
  return (connection, frame) => {
    if (frame.type === "publish") {
      publish(connection, frame);
      return;
    }
    const { type, topics } = frame;
    const [first] = topics;
    if (first === undefined || topics.length > MAX_WISHES) {
      const answer = refuseTopicFrame(type, first?.topic ?? "", {
        code: first === undefined ? "PETREL_INVALID_REQUEST" : "PETREL_TOO_MANY_TOPICS",
        message: `\`topics\` must have 1 to ${MAX_WISHES} topics.`,
      });
      requests.take(connection, [{ kind: "refused", answer }]);
      return;
    }
    requests.take(
      connection,
      topics.map((wish) => requestOf(type, wish)),
    );
  };
}

function requestOf(type: "subscribe" | "unsubscribe", wish: TopicWish): TopicRequest {
  const { topic, epoch, offset, presence } = wish;
  const problem = problemOf(wish);
  if (problem !== undefined) {
    const answer = refuseTopicFrame(type, topic, { code: "PETREL_INVALID_REQUEST", message: problem });
    return { kind: "refused", answer };
  }
  if (type === "unsubscribe") return { kind: "unsubscribe", topic };
  return {
    kind: "subscribe",
    topic,
    position: epoch === undefined || offset === undefined ? undefined : { epoch, offset },
    presence,
    hasRefreshed: false,
    hasReadLog: false,
  };
}

function problemOf({ topic, epoch, offset }: TopicWish): string | undefined {
  if (topic !== BROADCAST_TOPIC && !isTopicName(topic)) return "This is not a topic's name.";
  if ((epoch === undefined) !== (offset === undefined)) return "Give `epoch` and `offset` together.";
  if (offset !== undefined && (!Number.isInteger(offset) || offset < 0)) {
    return "`offset` must be a whole number.";
  }
  return undefined;
}
