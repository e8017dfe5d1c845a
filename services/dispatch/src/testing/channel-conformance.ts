// Tests only: the duties of every fallback channel, as one suite for all implementations.
// Guarantees: one test for each comment of channels/fallback-channel.ts.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FallbackChannel, FallbackJob } from "../channels/fallback-channel.js";

type Received = readonly { readonly id: string; readonly notification: unknown }[];

/** A channel whose receiver a test can command. */
export interface ChannelUnderTest {
  readonly channel: FallbackChannel;
  /** What the receiver does with the next jobs. */
  readonly behave: (as: "take" | "refuse" | "fail for now" | "hang") => void | Promise<void>;
  /** What reached the receiver: one per job, with the id by which it recognises repetitions. */
  readonly received: () => Received | Promise<Received>;
  readonly close: () => Promise<void>;
}

export const job: FallbackJob = {
  id: "p0_aaaaaaaaaaaaaaaaaaaaaa",
  userId: "ada",
  seq: 7,
  epoch: "e.1",
  acceptedAtMs: 1_700_000_000_000,
  expiresAtMs: 1_700_000_600_000,
  priority: "normal",
  notification: '{"title":"hi","body":"there"}',
  attempt: 1,
};

/** @param open makes a new one for each test, with a short `longestSendMs` */
export function describeChannel(name: string, open: () => Promise<ChannelUnderTest>): void {
  describe(`${name}, as every channel`, () => {
    let one: ChannelUnderTest;
    const never = new AbortController().signal;
    beforeEach(async () => void (one = await open()));
    afterEach(async () => {
      await one.channel.close();
      await one.close();
    });

    test("has a name fit for records and metrics", () => {
      expect(one.channel.name).toMatch(/^[a-z][a-z-]*$/);
      expect(one.channel.longestSendMs).toBeGreaterThan(0);
    });

    test("answers taken when the provider has it, with its id and its notification", async () => {
      await one.behave("take");
      expect((await one.channel.send(job, never)).outcome).toBe("taken");
      expect(await one.received()).toEqual([{ id: job.id, notification: { title: "hi", body: "there" } }]);
    });

    test("the same job again carries the same id", async () => {
      await one.behave("take");
      await one.channel.send(job, never);
      await one.channel.send({ ...job, attempt: 2 }, never);
      expect((await one.received()).map(({ id }) => id)).toEqual([job.id, job.id]);
    });

    test("a temporary failure is a retry, with a reason", async () => {
      await one.behave("fail for now");
      expect(await one.channel.send(job, never)).toMatchObject({
        outcome: "retry",
        reason: expect.stringMatching(/./),
      });
    });

    test("a permanent failure has a cause and a reason", async () => {
      await one.behave("refuse");
      expect(await one.channel.send(job, never)).toMatchObject({
        outcome: "failed",
        cause: "rejected",
        reason: expect.stringMatching(/./),
      });
    });

    test("an abort ends it soon, and only an abort makes it reject", async () => {
      await one.behave("hang");
      const controller = new AbortController();
      const sending = one.channel.send(job, controller.signal);
      const early = await Promise.race([sending, new Promise((resolve) => setTimeout(resolve, 50, "open"))]);
      expect(early).toBe("open");
      controller.abort();
      await expect(sending).rejects.toThrow();
    });

    test("sends nothing if already aborted", async () => {
      await one.behave("take");
      await expect(one.channel.send(job, AbortSignal.abort())).rejects.toThrow();
      expect(await one.received()).toEqual([]);
    });

    test("jobs run side by side, and each gets its own answer", async () => {
      await one.behave("take");
      const ids = Array.from({ length: 20 }, (_, i) => `p0_${String(i).padStart(22, "0")}`);
      const answers = await Promise.all(ids.map((id) => one.channel.send({ ...job, id }, never)));
      expect(answers.map(({ outcome }) => outcome)).toEqual(ids.map(() => "taken"));
      expect((await one.received()).map(({ id }) => id).sort()).toEqual(ids);
    });
  });
}
