// Tests acknowledgement by the application, and by what is visible, over real sockets to a scripted push node.
// Guarantees: nothing is acknowledged before the application, or the page that shows it, has it.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ackOf, useClientPeer } from "../../../test/support/clients/client-peer.js";
import type { PetrelClient } from "./client.js";

const { accept, newClient, welcomed } = useClientPeer<number>();

describe("manual acknowledgement", () => {
  const manual = (): { client: PetrelClient<number>; seen: { epoch: string; seq: number; id: string }[] } => {
    const client = newClient({ ack: "manual" });
    const seen: { epoch: string; seq: number; id: string }[] = [];
    client.on("message", (message) => seen.push(message));
    return { client, seen };
  };

  it("stays with the application after the client was closed and connected again", async () => {
    const { client, seen } = manual();
    const first = await welcomed(client);
    for (const seq of [1, 2, 3]) first.message(seq);
    await waitFor(() => seen.length === 3, { what: "three messages" });
    expect(client.ack(seen[0]!)).toBe(true);
    await client.close();
    client.connect();
    const second = await accept();
    expect(second.query.get("since")).toBe("1");
    second.welcome({ after: 1, resumed: true });
    for (const seq of [2, 3, 4]) second.message(seq);
    await waitFor(() => seen.length === 4, { what: "the fourth message" });
    expect(seen.map(({ id }) => id)).toEqual(["m1", "m2", "m3", "m4"]);
    // Only what the application acknowledged is acknowledged.
    expect(client.position).toEqual({ epoch: "e1", since: 1 });
    expect(client.ack(seen[2]!)).toBe(true);
    await ackOf(second, 3);
  });

  it("stays with the application if history was trimmed", async () => {
    const { client, seen } = manual();
    const first = await welcomed(client);
    for (const seq of [1, 2, 3]) first.message(seq);
    await waitFor(() => seen.length === 3, { what: "three messages" });
    first.close(1012);
    const second = await accept();
    second.welcome({ after: 1, resumed: false });
    for (const seq of [2, 3, 4]) second.message(seq);
    await waitFor(() => seen.length === 4, { what: "the fourth message" });
    expect(client.position).toEqual({ epoch: "e1", since: 1 });
  });

  it("hands over waiting messages once, under their new numbers, after the epoch changed", async () => {
    const client = newClient({ ack: "manual" });
    const seen: string[] = [];
    let finish: (() => void) | undefined;
    client.on("message", ({ epoch, id }) => {
      seen.push(`${epoch}/${id}`);
      return seen.length === 1 ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
    });
    const first = await welcomed(client);
    first.message(1);
    first.message(2);
    await waitFor(() => finish, { what: "the handler to start" });
    first.close(1012);
    const second = await accept();
    second.welcome({ epoch: "e2" });
    for (const seq of [1, 2, 3]) second.message(seq);
    // The answer to a later frame proves that the messages have arrived.
    const told = new Promise((resolve) => client.once("error", resolve));
    second.send({ type: "error", code: "PETREL_INTERNAL", message: "read behind them", action: "resume" });
    await told;
    finish?.();
    await waitFor(() => seen.includes("e2/m3"), { what: "the third message" });
    // m1 again: an ack under the old epoch no longer counts.
    expect(seen).toEqual(["e1/m1", "e2/m1", "e2/m2", "e2/m3"]);
  });
});

describe("acknowledging visible messages only", () => {
  const page = { visibilityState: "visible" };
  let changed: (() => void)[];

  beforeEach(() => {
    changed = [];
    page.visibilityState = "visible";
    vi.stubGlobal("window", { addEventListener: () => undefined, removeEventListener: () => undefined });
    vi.stubGlobal("document", {
      get visibilityState() {
        return page.visibilityState;
      },
      addEventListener: (type: string, listener: () => void) => {
        if (type === "visibilitychange") changed.push(listener);
      },
      removeEventListener: () => undefined,
    });
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  function turn(visibilityState: "visible" | "hidden"): void {
    page.visibilityState = visibilityState;
    for (const listener of changed) listener();
  }

  it("waits while the page is hidden; once it is seen, acknowledges everything and moves the position", async () => {
    const client = newClient({ ack: "visible" });
    const log: number[] = [];
    client.on("message", ({ seq }) => log.push(seq));
    const socket = await welcomed(client);
    socket.message(1);
    await ackOf(socket, 1);
    turn("hidden");
    socket.message(2);
    socket.message(3);
    await waitFor(() => log.length === 3, { what: "all messages" });
    expect(client.position).toEqual({ epoch: "e1", since: 1 });
    // A reconnect must not tell the server that they were seen, nor the application again.
    socket.close(1012);
    const again = await accept();
    expect(again.query.get("since")).toBe("1");
    again.welcome({ resumed: true, after: 1, seq: 3 });
    again.message(2);
    again.message(3);
    again.message(4);
    await waitFor(() => log.length === 4, { what: "the new one" });
    expect(again.frames.filter(({ type }) => type === "ack").map(({ seq }) => seq)).not.toContain(4);
    turn("visible");
    await ackOf(again, 4);
    expect([log, client.position]).toEqual([[1, 2, 3, 4], { epoch: "e1", since: 4 }]);
  });

  it("acknowledges when the application reports the page as seen", async () => {
    const client = newClient({ ack: "visible" });
    const given: { seen(): boolean }[] = [];
    client.on("message", (message) => given.push(message));
    const socket = await welcomed(client);
    turn("hidden");
    socket.message(1);
    socket.message(2);
    await waitFor(() => given.length === 2, { what: "both" });
    expect(given[0]?.seen()).toBe(true);
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 1 });
    expect(Object.keys(given[0] ?? {})).toEqual(["id", "seq", "epoch", "at", "data"]);
  });
});
