// Tests `petrel listen`.
// Guarantees: acknowledges what was printed, and nothing else; the server's text cannot control the terminal.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel listen", () => {
  it("shows messages, acknowledges them, and closes cleanly when interrupted", async () => {
    const run = bench.run(["listen", "alice"]);
    const socket = await bench.node.accept();
    expect(socket.offered).toEqual(["petrel.v1", "bearer.jwt"]);
    socket.welcome();
    socket.message(1, { data: { text: "hi" } });
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 1 });
    expect(run.out).toEqual(['#1 2030-01-01T00:00:00.000Z m1 {"text":"hi"}']);
    expect(run.err).toEqual(["listening as alice on n1, epoch e1, after 0"]);
    run.interrupt();
    expect(await run.exitCode).toBe(0);
    expect(await socket.closed).toMatchObject({ code: 1000 });
  });

  it("prints JSON and ends after the requested number of messages, all acknowledged", async () => {
    const run = bench.run(["listen", "alice", "--json", "--count", "2"]);
    const socket = await bench.node.accept();
    socket.welcome();
    for (const seq of [1, 2, 3]) socket.message(seq);
    expect(await run.exitCode).toBe(0);
    expect(run.out.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(["m1", "m2"]);
    await socket.closed;
    expect(socket.frames.at(-1)).toEqual({ type: "ack", seq: 2 });
  });

  it("acknowledges nothing that it could not print, and ends", async () => {
    let isGone = false;
    const run = bench.run(["listen", "alice"], { isUnread: () => isGone });
    const socket = await bench.node.accept();
    socket.welcome();
    socket.message(1);
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 1 });
    isGone = true;
    for (const seq of [2, 3]) socket.message(seq);
    expect(await run.exitCode).toBe(0);
    await socket.closed;
    expect(socket.frames).toEqual([{ type: "ack", seq: 1 }]);
    expect(run.out).toHaveLength(1);
  });

  it("escapes terminal control characters; the JSON stays equal", async () => {
    const text = "\u009b31m\u009d0;title\u009c\u001b[2J\u007f\u0085\u202ereversed\u2028";
    for (const options of [[], ["--json"]]) {
      const run = bench.run(["listen", "alice", "--count", "1", ...options]);
      const socket = await bench.node.accept();
      socket.welcome({ node: `n1${text}` });
      socket.message(1, { data: { [text]: text }, at: `now${text}` });
      expect(await run.exitCode).toBe(0);
      const [line = ""] = run.out;
      for (const shown of [line, ...run.err]) expect(shown).toMatch(/^[\x20-\x7e]+$/);
      const json = options.length > 0 ? line : line.slice(line.indexOf("{"));
      const shown = JSON.parse(json) as { data?: unknown };
      expect(shown.data ?? shown).toEqual({ [text]: text });
    }
  });

  it("resumes at the given position", async () => {
    const run = bench.run(["listen", "alice", "--epoch", "e7", "--since", "40"]);
    const socket = await bench.node.accept();
    expect([socket.query.get("epoch"), socket.query.get("since")]).toEqual(["e7", "40"]);
    socket.welcome({ epoch: "e7", after: 40, resumed: true });
    await waitFor(() => run.err.length > 0, { what: "the welcome" });
    expect(run.err[0]).toContain("epoch e7, after 40, resumed");
    run.interrupt();
    await run.exitCode;
  });

  it("acknowledges by hand", async () => {
    const run = bench.run(["listen", "alice", "--ack", "manual"]);
    const socket = await bench.node.accept();
    socket.welcome();
    for (const seq of [1, 2, 3]) socket.message(seq);
    await waitFor(() => run.out.length === 3, { what: "three messages" });
    run.stdin.write("2\n");
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 2 });
    run.stdin.write("9\n");
    run.stdin.write("\n");
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 3 });
    expect(run.err).toContain("press Enter, or type a number from 1 to 3");
    run.interrupt();
    expect(await run.exitCode).toBe(0);
  });

  it("acknowledges nothing with none, and leaves it to the server with auto", async () => {
    const none = bench.run(["listen", "alice", "--ack", "none"]);
    const first = await bench.node.accept();
    expect(first.query.get("ack")).toBeNull();
    first.welcome();
    first.message(1);
    await waitFor(() => none.out.length === 1, { what: "the message" });
    none.interrupt();
    await none.exitCode;
    expect(first.frames).toEqual([]);

    const auto = bench.run(["listen", "alice", "--ack", "auto"]);
    expect((await bench.node.accept()).query.get("ack")).toBe("auto");
    auto.interrupt();
    expect(await auto.exitCode).toBe(0);
  });

  it("exits with 1 if the server says stop", async () => {
    const run = bench.run(["listen", "alice"]);
    const socket = await bench.node.accept();
    socket.welcome();
    socket.send({ type: "error", code: "PETREL_CONNECTION_REPLACED", message: "newer", action: "stop" });
    socket.close(4409);
    expect(await run.exitCode).toBe(1);
    expect(run.err.at(-1)).toBe("petrel: closed by the server with 4409 PETREL_CONNECTION_REPLACED: newer");
  });

  it("reports a lost connection and goes on", async () => {
    const run = bench.run(["listen", "alice"]);
    const first = await bench.node.accept();
    first.welcome();
    await waitFor(() => run.err.length === 1, { what: "the welcome" });
    first.close(1012, "drain");
    (await bench.node.accept()).welcome({ resumed: true });
    await waitFor(() => run.err.length === 3, { what: "the second welcome" });
    expect(run.err[1]).toBe("offline (1012 drain), reconnecting");
    run.interrupt();
    await run.exitCode;
  });
});
