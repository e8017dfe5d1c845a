// Tests a topic's log against a model, on a real Redis: publish, trim, age, lose the tail, change the epoch, recover.
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { isRecoverable, readTopic, type TopicPage } from "./read-topic.js";
import { TopicPublisher, type TopicHistory } from "./topic-publisher.js";

let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store.close());

const AGE_MS = 3_600_000;

interface Kept {
  readonly offset: number;
  readonly id: string;
  readonly bytes: number;
  isOld: boolean;
}

interface Model {
  epochs: string[];
  offset: number;
  kept: Kept[];
  /** Of the epoch before: the last offset that survived. */
  previousOffset: number;
}

type Step =
  | { readonly do: "publish"; readonly count: number; readonly bytes: number }
  /** The oldest of what is kept become too old. */
  | { readonly do: "age"; readonly count: number }
  | { readonly do: "new generation" }
  /** A snapshot from now on … */
  | { readonly do: "save" }
  /** … is what the next master has. */
  | { readonly do: "lose the tail" }
  /** What a client at this distance from the newest offset is told. */
  | { readonly do: "recover"; readonly behind: number; readonly epoch: "newest" | "previous" | "foreign" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("publish" as const),
    count: fc.integer({ min: 1, max: 5 }),
    bytes: fc.integer({ min: 1, max: 400 }),
  }),
  fc.record({ do: fc.constant("age" as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.constant({ do: "new generation" as const }),
  fc.constant({ do: "save" as const }),
  fc.constant({ do: "lose the tail" as const }),
  fc.record({
    do: fc.constant("recover" as const),
    behind: fc.integer({ min: -2, max: 12 }),
    epoch: fc.constantFrom("newest" as const, "previous" as const, "foreign" as const),
  }),
);

test("a topic's log matches its model", async () => {
  const { scripts, keys, redis, partitions } = store;
  const publisher = new TopicPublisher({ scripts, partitions, maxInFlight: 1 });
  const outcomes = { recovered: 0, refused: 0 };

  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 16 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 200, max: 1_500 }),
      async (steps, size, bytes) => {
        const topic = randomBytes(9).toString("base64url");
        const history: TopicHistory = { size, ageMs: AGE_MS, bytes };
        const model: Model = { epochs: [], offset: 0, kept: [], previousOffset: -1 };
        let saved: { readonly dumps: (Buffer | null)[]; readonly model: Model } | undefined;
        const both = [keys.topic(topic), keys.topicLog(topic)];

        const noteEpoch = (epoch: string): void => {
          if (model.epochs.at(-1) === epoch) return;
          expect(model.epochs).not.toContain(epoch);
          model.epochs.push(epoch);
        };

        /** A read takes out what is too old. */
        const read = async (after?: number): Promise<TopicPage> => {
          const page = await readTopic(scripts, keys, topic, {
            takesPart: true,
            ...(after === undefined ? {} : { after }),
          });
          model.kept = model.kept.filter(({ isOld }) => !isOld);
          if (page === undefined) throw new Error("the topic is gone");
          return page;
        };

        const publish = async (count: number, length: number): Promise<void> => {
          const messages = Array.from({ length: count }, () => ({
            topic,
            partition: 0,
            id: randomBytes(6).toString("hex"),
            ttlMs: AGE_MS,
            history,
            from: "",
            data: JSON.stringify("x".repeat(length)),
          }));
          const results = await Promise.all(messages.map((message) => publisher.publish(message)));
          for (const [i, result] of results.entries()) {
            if (result.outcome !== "published") throw new Error(result.outcome);
            expect(result.offset).toBe(++model.offset);
            noteEpoch(result.epoch);
            if (size > 0) {
              const stored = await redis.xrange(
                keys.topicLog(topic),
                `${result.offset}-0`,
                `${result.offset}-0`,
              );
              // Where it was trimmed within the call, its length is that of its neighbours.
              const value = stored[0]?.[1][1] ?? "x".repeat(length + 70);
              model.kept.push({
                offset: result.offset,
                id: messages[i]?.id ?? "",
                bytes: value.length,
                isOld: false,
              });
            }
          }
          let total = model.kept.reduce((sum, one) => sum + one.bytes, 0);
          while (
            model.kept[0] !== undefined &&
            (model.kept.length > size || total > bytes || model.kept[0].isOld)
          ) {
            total -= model.kept.shift()?.bytes ?? 0;
          }
        };

        const age = async (count: number): Promise<void> => {
          const entries = await redis.xrange(keys.topicLog(topic), "-", "+");
          if (entries.length === 0) return;
          await redis.del(keys.topicLog(topic));
          for (const [i, [id, [, value = ""]]] of entries.entries()) {
            const [epoch, at, ...rest] = value.split("\t");
            const aged = i < count ? String(Number(at) - AGE_MS).padStart(at?.length ?? 0, "0") : at;
            await redis.xadd(keys.topicLog(topic), id, "m", [epoch, aged, ...rest].join("\t"));
          }
          for (const one of model.kept.slice(0, count)) one.isOld = true;
        };

        for (const one of steps) {
          switch (one.do) {
            case "publish":
              await publish(one.count, one.bytes);
              break;
            case "age":
              await age(one.count);
              break;
            case "new generation":
              await redis.hincrby(keys.generation, "n", 1);
              if (model.epochs.length > 0) {
                model.previousOffset = model.offset;
                noteEpoch((await read()).epoch);
              }
              break;
            case "save":
              saved = {
                dumps: await Promise.all(both.map((key) => redis.dumpBuffer(key))),
                model: structuredClone(model),
              };
              break;
            case "lose the tail": {
              if (saved === undefined || saved.model.epochs.length === 0) break;
              await redis.del(...both);
              for (const [i, dump] of saved.dumps.entries()) {
                if (dump !== null) await redis.restore(both[i] ?? "", 0, dump);
              }
              await redis.hincrby(keys.generation, "n", 1);
              model.offset = saved.model.offset;
              model.kept = structuredClone(saved.model.kept);
              model.previousOffset = model.offset;
              // The epoch before is the one that the surviving data knows.
              const survived = saved.model.epochs.at(-1) ?? "";
              const page = await read();
              noteEpoch(page.epoch);
              expect(page.previous).toEqual({ epoch: survived, offset: model.offset });
              model.epochs = [survived, page.epoch];
              break;
            }
            case "recover": {
              if (model.epochs.length === 0) {
                expect(await readTopic(scripts, keys, topic, { takesPart: false })).toBeUndefined();
                break;
              }
              const given = Math.max(0, model.offset - one.behind);
              const epoch = {
                newest: model.epochs.at(-1) ?? "",
                previous: model.epochs.at(-2) ?? "none",
                foreign: "elsewhere.1",
              }[one.epoch];
              const page = await read(given);
              const fresh = model.kept;
              const oldest = fresh[0]?.offset ?? model.offset + 1;
              expect([page.epoch, page.offset, page.oldest]).toEqual([
                model.epochs.at(-1),
                model.offset,
                oldest,
              ]);
              const newest =
                one.epoch === "newest" ? model.offset : one.epoch === "previous" ? model.previousOffset : -1;
              const isWhole = oldest - 1 <= given && given <= newest && epoch !== "none";
              expect(isRecoverable(page, { epoch, offset: given })).toBe(isWhole);
              outcomes[isWhole ? "recovered" : "refused"]++;
              expect(page.messages.map(({ offset, id }) => [offset, id])).toEqual(
                fresh.filter(({ offset }) => offset > given).map(({ offset, id }) => [offset, id]),
              );
              if (isWhole) {
                const expected = Array.from({ length: model.offset - given }, (_, i) => given + 1 + i);
                expect(page.messages.map(({ offset }) => offset)).toEqual(expected);
              }
              break;
            }
          }
        }
        await redis.del(...both);
      },
    ),
    { numRuns: sized(2_000, 120) },
  );
  // Both must be common, or the test shows nothing.
  expect(Math.min(outcomes.recovered, outcomes.refused)).toBeGreaterThan(sized(50, 4));
}, 300_000);
