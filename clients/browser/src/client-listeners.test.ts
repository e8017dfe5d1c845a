// Tests the client's listeners and options, and what it makes of the browser's network events, over real sockets to a
// scripted push node.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { useClientPeer } from "../../../test/support/clients/client-peer.js";
import { clientErrorCodes, PetrelClient, type ClosedEvent } from "./client.js";

const { accept, started } = useClientPeer();

describe("the browser's network events", () => {
  it("stop attempts while offline and start one at once when online", async () => {
    const network = new EventTarget();
    const client = started({ networkEvents: network, timing: { backoffBaseMs: 5, backoffCapMs: 5 } });
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    network.dispatchEvent(new Event("offline"));
    first.cut();
    await waitFor(() => client.state === "waiting", { what: "the client to wait" });
    await expect(accept(100)).rejects.toThrow("no connection");
    network.dispatchEvent(new Event("online"));
    (await accept(1_000)).welcome();
    await client.whenOnline();
  });

  it("make the client check whether an open socket is still alive", async () => {
    const network = new EventTarget();
    const client = started({ networkEvents: network, timing: { probeMs: 60 } });
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    network.dispatchEvent(new Event("online"));
    await first.next("ping");
    // No pong: the network that came back is a different one.
    await accept();
  });
});

describe("listeners and options", () => {
  it("may close the client from within", async () => {
    const client = started();
    const events: string[] = [];
    client.on("welcome", () => events.push("welcome"));
    client.on("state", (state) => {
      events.push(state);
      if (state === "online") void client.close();
    });
    const socket = await accept();
    socket.welcome();
    expect(await socket.closed).toMatchObject({ code: 1000 });
    expect(events).toEqual(["online", "closed"]);
  });

  it.each(["state", "closed"] as const)(
    "may connect again from within %s: all listeners see it in order",
    async (where) => {
      const client = started();
      const heard: string[][] = [[], []];
      client.on("state", (state) => heard[0]?.push(state));
      client.on("closed", () => heard[0]?.push("closed event"));
      const again = new Promise((resolve) => {
        client.on(where, () => {
          if (client.state !== "closed") return;
          client.connect();
          // It belongs to the new start; the `closed` event under way belongs to the old one.
          client.whenOnline().then(resolve, resolve);
        });
      });
      client.on("state", (state) => heard[1]?.push(state));
      client.on("closed", () => heard[1]?.push("closed event"));
      const first = await accept();
      first.welcome();
      await client.whenOnline();
      first.close(4403);
      const second = await accept();
      second.welcome();
      expect(await again).toMatchObject({ type: "welcome" });
      const inOrder = ["online", "closed", "closed event", "connecting", "online"];
      expect(heard).toEqual([inOrder, inOrder]);
    },
  );

  it("that cause events see them after the other listeners have seen the cause", async () => {
    const client = started();
    const heard: string[] = [];
    client.on("welcome", () => {
      throw new Error("no");
    });
    client.on("error", ({ code }) => heard.push(code));
    client.on("welcome", () => heard.push("welcome"));
    client.on("online", () => heard.push("online"));
    (await accept()).welcome();
    await waitFor(() => heard.length === 3, { what: "three events" });
    expect(heard).toEqual(["welcome", clientErrorCodes.listenerFailed, "online"]);
  });

  it("that fail are reported", async () => {
    const client = started();
    const failed = new Promise((resolve) => client.once("error", ({ code }) => resolve(code)));
    client.on("online", () => {
      throw new Error("no");
    });
    (await accept()).welcome();
    expect(await failed).toBe(clientErrorCodes.listenerFailed);
  });

  it.each([
    ["url", { url: "ftp://example.test" }],
    ["url", { url: [] }],
    ["getToken", { getToken: undefined as never }],
  ])("with a wrong %s are refused", (name, wrong) => {
    expect(
      () => new PetrelClient({ url: "ws://127.0.0.1", getToken: () => "t", WebSocket, ...wrong }),
    ).toThrow(`${name}:`);
  });

  it("close while the token is awaited opens no connection", async () => {
    let give: ((token: string) => void) | undefined;
    const client = started({ getToken: () => new Promise<string>((resolve) => (give = resolve)) });
    await waitFor(() => give, { what: "the client to ask for a token" });
    await client.close();
    give?.("late");
    await expect(accept(100)).rejects.toThrow("no connection");
  });

  it.each([
    ["long", "x".repeat(124), "x".repeat(123)],
    ["long in bytes", "é".repeat(62), "é".repeat(61)],
    ["an error", new Error("the tab is full"), "the tab is full"],
    ["a click", new Event("click"), "closed by the application"],
  ])("close with a reason that is %s closes the socket", async (_what, reason, sent) => {
    const client = started();
    const closed = new Promise<ClosedEvent>((resolve) => client.once("closed", resolve));
    const socket = await accept();
    socket.welcome();
    await client.whenOnline();
    await client.close(reason as string);
    expect(await socket.closed).toEqual({ code: 1000, reason: sent });
    expect(await closed).toMatchObject({ code: 1000, reason: sent, byClient: true });
  });

  it("close before the welcome ends the attempt", async () => {
    const client = started();
    const socket = await accept();
    await client.close();
    await socket.closed;
    await expect(accept(100)).rejects.toThrow("no connection");
  });
});
