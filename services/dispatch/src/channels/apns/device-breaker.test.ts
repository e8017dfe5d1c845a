// Tests when a token that Apple calls bad is quarantined, and when Apple is not believed.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { beforeEach, expect, test } from "vitest";
import { DeviceBreaker } from "./device-breaker.js";

const app = { topic: "com.example.app", environment: "production" } as const;
const other = { topic: "com.example.app", environment: "sandbox" } as const;

let nowMs: number;
let breaker: DeviceBreaker;
let aside: string[];
let changes: string[];
let spikesTold: object[];
let spikeElsewhere: boolean | "unknown";
beforeEach(() => {
  nowMs = 1_000_000;
  aside = [];
  changes = [];
  spikesTold = [];
  spikeElsewhere = false;
  breaker = new DeviceBreaker({
    clock: { monotonicMs: () => nowMs },
    logger: createLogger({ service: "test", level: "silent" }),
    suspicionMs: 30_000,
    openMs: 60_000,
    onChange: ({ environment }, isOpen) => void changes.push(`${environment} ${isOpen ? "open" : "closed"}`),
    random: () => 0,
    spikes: {
      note: async (scope, forMs) => void spikesTold.push({ ...scope, forMs }),
      isKnown: async () => {
        if (spikeElsewhere === "unknown") throw new Error("Redis is away");
        return spikeElsewhere;
      },
    },
  });
});

async function pass(ms: number): Promise<void> {
  nowMs += ms;
  await breaker.decide();
}
const suspect = (n: number, isTaken = true) =>
  breaker.suspect({ ...app, userId: `u${n}`, deviceId: `d${n}`, isTaken }, () => void aside.push(`d${n}`));
const good = (times: number) => {
  for (let i = 0; i < times; i++) breaker.known(app, "good");
};
const spike = (from = 0) => {
  for (let n = from; n < from + 20; n++) suspect(n);
};
const admit = (id = "any", isTaken = true) => breaker.admit(app, isTaken ? { id, isTaken } : { id });

test("one bad token: its messages wait, its device is quarantined after the suspicion, the others get theirs", async () => {
  expect(suspect(1)).toBeGreaterThan(30_000);
  expect(admit("d1")).toMatchObject({ admitted: false, why: "suspect" });
  expect(admit("d2")).toEqual({ admitted: true });
  await pass(29_999);
  expect(aside).toEqual([]);
  await pass(1);
  expect(aside).toEqual(["d1"]);
  expect(admit("d1")).toEqual({ admitted: true });
  expect(changes).toEqual([]);
});

test("bad tokens of many users at once: open; none is quarantined or removed, and nothing is sent", async () => {
  for (let n = 0; n < 19; n++) suspect(n);
  expect(changes).toEqual([]);
  expect(breaker.mayForget(app)).toBe(true);
  suspect(19);
  expect(changes).toEqual(["production open"]);
  expect(breaker.open).toEqual([app]);
  expect(breaker.mayForget(app)).toBe(false);
  expect(admit()).toMatchObject({ admitted: false, why: "breaker-open" });
  await pass(59_999);
  expect(aside).toEqual([]);
  expect(admit()).toMatchObject({ admitted: false });
});

test("each app and environment has its own breaker", async () => {
  spike();
  expect(breaker.admit(other, { id: "x" })).toEqual({ admitted: true });
  expect(breaker.mayForget(other)).toBe(true);
});

test("many bad ones among many more good ones are no spike: they are treated as bad", async () => {
  for (let n = 0; n < 100; n++) {
    good(2);
    suspect(n);
  }
  expect(changes).toEqual([]);
  await pass(30_000);
  expect(aside).toHaveLength(100);
});

test("detects a spike at once, however much succeeded before", async () => {
  good(100_000);
  spike();
  expect(changes).toEqual(["production open"]);
});

test("spread over a long time they are no spike either", async () => {
  for (let n = 0; n < 100; n++) {
    suspect(n);
    await pass(5_000);
  }
  expect(changes).toEqual([]);
  expect(aside.length).toBeGreaterThan(80);
});

test("a spike that another process has seen quarantines nothing here; the next message raises the suspicion again", async () => {
  suspect(1);
  spikeElsewhere = true;
  await pass(30_000);
  expect(aside).toEqual([]);
  expect(admit("d1")).toEqual({ admitted: true });
  suspect(1);
  spikeElsewhere = "unknown";
  await pass(30_000);
  expect(aside).toEqual([]);
  spikeElsewhere = false;
  await pass(1);
  expect(aside).toEqual(["d1"]);
});

test("announces a spike to the others until their suspicions have ended", async () => {
  spike();
  expect(spikesTold).toEqual([{ ...app, forMs: 120_000 }]);
  await pass(60_000);
});

test("one user with twenty bad tokens does not open it", async () => {
  for (let n = 0; n < 30; n++) {
    breaker.suspect(
      { ...app, userId: "u1", deviceId: `d${n}`, isTaken: true },
      () => void aside.push(`d${n}`),
    );
  }
  expect(changes).toEqual([]);
  await pass(30_000);
  expect(aside).toHaveLength(30);
});

test("after the pause a few may probe; a token that Apple recognises closes it", async () => {
  spike();
  await pass(60_000);
  for (let i = 0; i < 5; i++) expect(admit()).toEqual({ admitted: true });
  expect(admit()).toMatchObject({ admitted: false, why: "breaker-open" });
  // Half-open still says open to whoever watches, and nothing is touched.
  expect(breaker.open).toEqual([app]);
  expect(breaker.mayForget(app)).toBe(false);
  breaker.known(app, "good");
  expect(changes).toEqual(["production open", "production closed"]);
  expect(admit()).toEqual({ admitted: true });
  expect(breaker.mayForget(app)).toBe(true);
  expect(aside).toEqual([]);
});

test("if those few are bad too, it stays open, each time for longer, up to tenfold", async () => {
  spike();
  let openMs = 60_000;
  for (let round = 0; round < 6; round++) {
    await pass(openMs);
    for (let n = 0; n < 5; n++) {
      expect(admit(), `round ${round}`).toEqual({ admitted: true });
      suspect(n);
    }
    openMs = Math.min(openMs * 2, 600_000);
    expect(admit()).toEqual({ admitted: false, why: "breaker-open", afterMs: openMs + 1 });
  }
  expect(changes).toEqual(["production open"]);
  expect(aside).toEqual([]);
});

test("if none of those few is answered, others may probe a while later", async () => {
  spike();
  await pass(60_000);
  for (let i = 0; i < 5; i++) admit();
  expect(admit()).toMatchObject({ admitted: false });
  await pass(30_000);
  expect(admit()).toEqual({ admitted: true });
});

test("idle apps use no memory", async () => {
  for (let n = 0; n < 1_000; n++) breaker.known({ ...app, topic: `com.example.app${n}` }, "d");
  await pass(60_001);
  expect(breaker.size).toBe(0);
});

test("any number of tokens that Apple never accepted open nothing: they are quarantined one by one", async () => {
  for (let n = 0; n < 200; n++) suspect(n, false);
  expect(changes).toEqual([]);
  expect(admit("real")).toEqual({ admitted: true });
  await pass(30_000);
  expect(aside).toHaveLength(200);
});

test("nor do they prolong a pause or use up its probes", async () => {
  spike();
  await pass(60_000);
  for (let n = 100; n < 105; n++) {
    expect(admit(`d${n}`, false)).toEqual({ admitted: true });
    suspect(n, false);
  }
  expect(admit("d105", false)).toMatchObject({ admitted: false });
  expect(admit("real")).toEqual({ admitted: true });
  breaker.known(app, "real");
  expect(changes).toEqual(["production open", "production closed"]);
});

test("a suspicion outlives the pause: the same tokens do not open it again but are quarantined", async () => {
  spike();
  await pass(60_000);
  admit("real");
  breaker.known(app, "real");
  // They are looked at once more.
  for (let n = 0; n < 20; n++) expect(admit(`d${n}`)).toEqual({ admitted: true });
  spike();
  expect(changes).toEqual(["production open", "production closed"]);
  await pass(1);
  expect(aside).toHaveLength(20);
});

test("a token that Apple accepts after the pause is no longer suspect", async () => {
  spike();
  await pass(60_000);
  admit();
  for (let n = 0; n < 20; n++) breaker.known(app, `d${n}`);
  expect(changes).toEqual(["production open", "production closed"]);
  suspect(0);
  await pass(29_999);
  expect(aside).toEqual([]);
});

test("suspicions that outlive a pause expire in the end", async () => {
  spike();
  await pass(60_000);
  admit();
  breaker.known(app, "real");
  await pass(1_000);
  expect(breaker.size).toBe(1);
  await pass(3_600_001);
  expect(breaker.size).toBe(0);
});
