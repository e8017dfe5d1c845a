// Tests the client's place in the user's sequence.
// Guarantees: each admission rule by itself; client-exactly-once.test.ts runs them together over sockets.
import { describe, expect, it } from "vitest";
import { UserSequence } from "./user-sequence.js";

const welcome = (epoch: string, after: number, resumed = false) => ({ epoch, after, resumed });

describe("user sequence", () => {
  it("accepts rising numbers once, including gaps", () => {
    const sequence = new UserSequence(undefined, { repeatAcrossEpochs: false });
    sequence.adopt(welcome("e", 3));
    expect(sequence.admit("e", 3, "m3")).toBe("seen");
    expect(sequence.admit("e", 4, "m4")).toBe("deliver");
    expect(sequence.admit("e", 7, "m7")).toBe("deliver");
    expect(sequence.admit("e", 4, "m4")).toBe("seen");
    expect(sequence.admit("old", 8, "m8")).toBe("foreign");
  });

  it("moves its position by handled messages, not received ones", () => {
    const sequence = new UserSequence({ epoch: "e", since: 2 }, { repeatAcrossEpochs: false });
    sequence.adopt(welcome("e", 2, true));
    sequence.admit("e", 3, "m3");
    expect(sequence.position).toEqual({ epoch: "e", since: 2 });
    expect(sequence.handled("e", 3)).toBe(true);
    expect(sequence.handled("e", 3)).toBe(false);
    expect(sequence.handled("other", 9)).toBe(false);
    expect(sequence.position).toEqual({ epoch: "e", since: 3 });
  });

  it("keeps what is received when it resumes", () => {
    const sequence = new UserSequence(undefined, { repeatAcrossEpochs: false });
    sequence.adopt(welcome("e", 0));
    sequence.admit("e", 1, "m1");
    sequence.adopt(welcome("e", 0, true));
    expect(sequence.admit("e", 1, "m1")).toBe("seen");
    expect(sequence.admit("e", 2, "m2")).toBe("deliver");
  });

  it("recognises messages by id under a new epoch, unless the application acknowledges", () => {
    for (const repeatAcrossEpochs of [false, true]) {
      const sequence = new UserSequence(undefined, { repeatAcrossEpochs });
      sequence.adopt(welcome("e1", 0));
      sequence.admit("e1", 1, "m1");
      sequence.adopt(welcome("e2", 0));
      expect(sequence.position).toEqual({ epoch: "e2", since: 0 });
      expect(sequence.admit("e2", 1, "m1")).toBe(repeatAcrossEpochs ? "deliver" : "pass");
    }
  });

  it("accepts again what was received and dropped", () => {
    const sequence = new UserSequence(undefined, { repeatAcrossEpochs: false });
    sequence.adopt(welcome("e", 0));
    for (const seq of [1, 2, 3]) sequence.admit("e", seq, `m${seq}`);
    sequence.handled("e", 1);
    sequence.rewind([{ id: "m3", epoch: "e", seq: 3, isCopy: false }]);
    // m2's handler is still running and must not run twice.
    expect(sequence.admit("e", 2, "m2")).toBe("seen");
    expect(sequence.admit("e", 3, "m3")).toBe("deliver");
  });

  it("remembers what was handed over under another epoch when its copy is dropped", () => {
    const sequence = new UserSequence(undefined, { repeatAcrossEpochs: false });
    sequence.adopt(welcome("e1", 0));
    for (const seq of [1, 2]) sequence.admit("e1", seq, `m${seq}`);
    sequence.adopt(welcome("e2", 0));
    expect([sequence.admit("e2", 1, "m1"), sequence.admit("e2", 2, "m2")]).toEqual(["pass", "pass"]);
    // m1's handler is running; everything queued after it is dropped.
    sequence.rewind([
      { id: "m2", epoch: "e1", seq: 2, isCopy: false },
      { id: "m1", epoch: "e2", seq: 1, isCopy: true },
      { id: "m2", epoch: "e2", seq: 2, isCopy: true },
    ]);
    expect(sequence.admit("e2", 1, "m1")).toBe("pass");
    expect(sequence.admit("e2", 2, "m2")).toBe("deliver");
  });
});
