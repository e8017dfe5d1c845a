// push-node/fan-out/repair-topics -> here -> topics/read-topic: a topic's log, or its end, in bounded calls.
// Guarantees: returns the messages that the log held when its last page was read, from one epoch.
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readTopic, type TopicPage } from "@petrel/shared/redis/topics/read-topic";

const PAGE = { maxEntries: 200, maxBytes: 256 * 1024, takesPart: true } as const;

/**
 * @param after exclusive; undefined: no messages, only the topic's position
 * @throws what ioredis throws if Redis does not answer
 */
export async function readTopicLog(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
  after: number | undefined,
): Promise<TopicPage> {
  const read = async (from: number | undefined): Promise<TopicPage> => {
    const page = await readTopic(scripts, keys, topic, {
      ...PAGE,
      ...(from === undefined ? {} : { after: from }),
    });
    if (page === undefined) throw new Error("the topic was not made");
    return page;
  };
  let page = await read(after);
  const { epoch } = page;
  const messages = [...page.messages];
  while (!page.isComplete) {
    page = await read(messages.at(-1)?.offset ?? page.oldest - 1);
    if (page.epoch !== epoch) return readTopicLog(scripts, keys, topic, after);
    messages.push(...page.messages);
  }
  // Some may have left the log meanwhile.
  const { oldest } = page;
  return { ...page, messages: messages.filter(({ offset }) => offset >= oldest) };
}
