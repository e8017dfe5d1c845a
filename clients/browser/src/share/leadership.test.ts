// Tests who leads: terms, challenges, and what a tab that was deposed or stood still does.
import { describe, expect, test } from "vitest";
import { Leadership } from "./leadership.js";

function newTab(id: string, nowMs = 1_000) {
  const did: string[] = [];
  const tab = new Leadership(
    id,
    {
      requestLock: (steal) => did.push(steal ? "steal" : "request"),
      dropLock: () => did.push("drop"),
      say: (kind, term) => did.push(`${kind} ${term}`),
      lead: (term) => did.push(`lead ${term}`),
      stepDown: () => did.push("step down"),
      follow: (leader) => did.push(`follow ${leader.id} ${leader.term}`),
    },
    () => nowMs,
  );
  const taken = (): string[] => did.splice(0);
  return { tab, taken };
}

describe("a leader", () => {
  test("is the tab that holds the lock; it announces itself and answers questions", () => {
    const { tab, taken } = newTab("a");
    tab.start();
    expect(taken()).toEqual(["request", "who 0"]);
    tab.granted();
    expect(taken()).toEqual(["lead 1000", "leads 1000"]);
    tab.heard("who", "b", 0);
    expect(taken()).toEqual(["leads 1000"]);
  });

  test("has a higher term than any it has heard of, whatever the clock says", () => {
    const { tab, taken } = newTab("a", 5);
    tab.start();
    tab.heard("leads", "b", 2_000);
    tab.granted();
    expect(taken()).toEqual(["request", "who 0", "follow b 2000", "lead 2001", "leads 2001"]);
  });

  test("that was deposed without knowing is told, and nobody believes it", () => {
    const { tab, taken } = newTab("a", 3_000);
    tab.start();
    tab.granted();
    taken();
    tab.heard("leads", "old", 2_000);
    expect(taken()).toEqual(["leads 3000"]);
    expect(tab.isLeading).toBe(true);
    tab.heard("leads", "new", 4_000);
    expect(taken()).toEqual(["step down", "follow new 4000"]);
    tab.heard("leads", "old", 3_000);
    expect([tab.leader?.id, taken()]).toEqual(["new", []]);
  });

  test("steps down when the lock is taken from it, and queues again", () => {
    const { tab, taken } = newTab("a");
    tab.start();
    tab.granted();
    taken();
    tab.lost();
    expect(taken()).toEqual(["step down", "request", "who 1000"]);
    expect(tab.leader).toBeUndefined();
  });
});

describe("a challenge", () => {
  test("takes the lock from a leader that does not answer until the next one", () => {
    const { tab, taken } = newTab("a");
    tab.start();
    tab.heard("leads", "b", 500);
    taken();
    tab.challenge();
    expect(taken()).toEqual(["who 500"]);
    tab.heard("leads", "b", 500);
    tab.challenge();
    expect(taken()).toEqual(["who 500"]);
    tab.challenge();
    expect(taken()).toEqual(["drop", "steal"]);
    // An answer that comes late changes nothing: it has been listened to all the time.
    tab.heard("leads", "b", 500);
    expect([tab.leader?.id, taken()]).toEqual(["b", []]);
  });

  test("does not count if this tab itself was suspended", () => {
    const { tab, taken } = newTab("a");
    tab.start();
    tab.challenge();
    taken();
    tab.forgive();
    tab.challenge();
    expect(taken()).toEqual(["who 0"]);
  });
});

test("a closing tab releases the lock before announcing it, and does nothing more", () => {
  const { tab, taken } = newTab("a");
  tab.start();
  tab.granted();
  taken();
  tab.stop();
  expect(taken()).toEqual(["step down", "drop", "left 1000"]);
  tab.granted();
  tab.lost();
  tab.challenge();
  tab.heard("leads", "b", 9_000);
  tab.stop();
  expect(taken()).toEqual([]);
});
