// commands -> here: the topics that a command line names.
// Guarantees: a name or a right that no cluster accepts is a usage error, before anything is sent.
import { usageError } from "./cli-error.js";

export interface TopicGrant {
  readonly topic: string;
  readonly can: readonly string[];
}

const rights: readonly string[] = ["subscribe", "publish", "presence"];

// Such as `room.*,chat.7/subscribe+publish`: patterns, each with the rights it grants; subscribe by default.
export function readGrants(text: string | undefined): TopicGrant[] | undefined {
  return text?.split(",").map((part) => {
    const [topic = "", given = "subscribe"] = part.trim().split("/");
    const can = given.split("+");
    if (!/^[A-Za-z0-9._:@|~+=-]{0,128}\*?$/.test(topic) || topic === "") {
      throw usageError(`--topics: ${JSON.stringify(topic)} is neither a topic's name nor a beginning with *`);
    }
    const unknown = can.find((right) => !rights.includes(right));
    if (unknown !== undefined) {
      throw usageError(`--topics: a right is one of ${rights.join(", ")}, not ${JSON.stringify(unknown)}`);
    }
    return { topic, can };
  });
}

/** @param options.broadcast whether `$all` is allowed */
export function readTopicName(text: string, { broadcast }: { readonly broadcast: boolean }): string {
  if (/^[A-Za-z0-9._:@|~+=-]{1,128}$/.test(text) || (broadcast && text === "$all")) return text;
  throw usageError(`${JSON.stringify(text)} is not a topic's name`);
}
