// Tests delivery and acknowledgement, over real sockets to a scripted push node.
// Guarantees: messages arrive in order and once; an ack follows the handlers and never exceeds what the socket carried.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describe, expect, it } from "vitest";
import { ackOf, useClientPeer } from "../../../test/support/clients/client-peer.js";
import { clientErrorCodes, type Position } from "./client.js";

/** Longer than any test. */
const NEVER_MS = 1_000_000;

const { accept, newClient, welcomed } = useClientPeer<number>();

describe("delivery", () => {
  it("hands messages over in order, one at a time, and acknowledges a burst once", async () => {
    const client = newClient({ timing: { ackDelayMs: 250 } });
    const log: string[] = [];
    client.on("message", async ({ seq }) => {
      log.push(`start ${seq}`);
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`end ${seq}`);
    });
    const socket = await welcomed(client);
    for (const seq of [1, 2, 4]) socket.message(seq);
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 4 });
    expect(log).toEqual(["start 1", "end 1", "start 2", "end 2", "start 4", "end 4"]);
    expect(socket.frames).toHaveLength(1);
    expect(client.position).toEqual({ epoch: "e1", since: 4 });
  });

  it("after an ack the next ones linger as long as the server allows, until the client leaves", async () => {
    const client = newClient({ timing: { ackGatherMs: NEVER_MS } });
    const seen: number[] = [];
    client.on("message", ({ seq }) => seen.push(seq));
    const socket = await welcomed(client, { ackWithinMs: NEVER_MS });
    socket.message(1);
    await ackOf(socket, 1);
    for (const seq of [2, 3]) socket.message(seq);
    await waitFor(() => seen.length === 3, { what: "the messages" });
    await expect(socket.next("ack", 60)).rejects.toThrow("no frame");
    await client.close();
    expect(await socket.next("ack")).toEqual({ type: "ack", seq: 3 });
    expect(client.position).toEqual({ epoch: "e1", since: 3 });
  });

  it.each([
    ["if the server does not say how long, as older ones do not", {}],
    ["if it says none", { ackWithinMs: 0 }],
  ])("%s: acks do not linger", async (_where, fields) => {
    const client = newClient({ timing: { ackGatherMs: NEVER_MS } });
    client.on("message", () => undefined);
    const socket = await welcomed(client, fields);
    for (const seq of [1, 2, 3]) {
      socket.message(seq);
      await ackOf(socket, seq);
    }
  });

  it("sends lingering acks when the network goes away", async () => {
    const networkEvents = new EventTarget();
    const client = newClient({ networkEvents, timing: { ackGatherMs: NEVER_MS } });
    const seen: number[] = [];
    client.on("message", ({ seq }) => seen.push(seq));
    const socket = await welcomed(client, { ackWithinMs: NEVER_MS });
    socket.message(1);
    await ackOf(socket, 1);
    socket.message(2);
    await waitFor(() => seen.length === 2, { what: "the message" });
    networkEvents.dispatchEvent(new Event("offline"));
    await ackOf(socket, 2);
  });

  it("passes the message's fields", async () => {
    const client = newClient();
    const received = new Promise((resolve) => client.once("message", resolve));
    const socket = await welcomed(client);
    socket.message(1, { data: { a: [1] } });
    expect(await received).toEqual({
      id: "m1",
      seq: 1,
      epoch: "e1",
      at: "2030-01-01T00:00:00.000Z",
      data: { a: [1] },
    });
  });

  it("does not acknowledge before the handler has finished", async () => {
    const client = newClient();
    let finish: (() => void) | undefined;
    client.on("message", () => new Promise<void>((resolve) => (finish = resolve)));
    const socket = await welcomed(client);
    socket.message(1);
    await waitFor(() => finish, { what: "the handler to start" });
    // Longer than the client holds acks back.
    await expect(socket.next("ack", 60)).rejects.toThrow("no frame");
    finish?.();
    await ackOf(socket, 1);
  });

  it("keeps messages unacknowledged until there is a handler", async () => {
    const client = newClient();
    const socket = await welcomed(client);
    socket.message(1);
    await expect(socket.next("ack", 60)).rejects.toThrow("no frame");
    const seen: number[] = [];
    client.on("message", ({ seq }) => seen.push(seq));
    await ackOf(socket, 1);
    expect(seen).toEqual([1]);
  });

  it("acknowledges a duplicate again and delivers it once", async () => {
    const client = newClient();
    const seen: number[] = [];
    client.on("message", ({ seq }) => seen.push(seq));
    const socket = await welcomed(client);
    socket.message(1);
    socket.message(2);
    await ackOf(socket, 2);
    socket.message(2);
    await ackOf(socket, 2);
    socket.message(3);
    await socket.next("ack");
    expect(seen).toEqual([1, 2, 3]);
  });

  it("never acknowledges more than the new socket has received", async () => {
    const client = newClient();
    let finish: (() => void) | undefined;
    const seen: number[] = [];
    client.on("message", ({ seq }) => {
      seen.push(seq);
      if (seq === 2) return new Promise<void>((resolve) => (finish = resolve));
      return undefined;
    });
    const first = await welcomed(client);
    first.message(1);
    await first.next("ack");
    first.message(2);
    await waitFor(() => finish, { what: "the handler of 2 to start" });
    first.cut();
    const second = await accept();
    expect(second.query.get("since")).toBe("1");
    second.welcome({ after: 1, resumed: true });
    finish?.();
    // 2 is handled, but this socket has not carried it yet. Acking it would end the connection with 4400.
    await expect(second.next("ack", 60)).rejects.toThrow("no frame");
    second.message(2);
    await ackOf(second, 2);
    expect(seen).toEqual([1, 2]);
  });

  it("delivers nothing twice when the epoch changes, and acknowledges in the new one", async () => {
    const client = newClient();
    const seen: string[] = [];
    client.on("message", ({ epoch, seq }) => seen.push(`${epoch}/${seq}`));
    const first = await welcomed(client);
    first.message(1);
    first.message(2);
    await ackOf(first, 2);
    first.close(1012);
    const second = await accept();
    expect([second.query.get("epoch"), second.query.get("since")]).toEqual(["e1", "2"]);
    second.welcome({ epoch: "e2", after: 1, resumed: false });
    second.message(2);
    await ackOf(second, 2);
    second.message(3);
    await ackOf(second, 3);
    expect(seen).toEqual(["e1/1", "e1/2", "e2/3"]);
  });

  it("reports a handler that fails and goes on", async () => {
    const client = newClient();
    const errors: unknown[] = [];
    client.on("error", ({ code, messageId }) => errors.push([code, messageId]));
    client.on("message", ({ seq }) => {
      if (seq === 1) throw new Error("no");
    });
    const socket = await welcomed(client);
    socket.message(1);
    socket.message(2);
    await ackOf(socket, 2);
    expect(errors).toEqual([[clientErrorCodes.handlerFailed, "m1"]]);
  });

  it("goes on after a handler throws a value that cannot be printed", async () => {
    const client = newClient();
    const errors: string[] = [];
    client.on("error", ({ message }) => errors.push(message));
    client.on("message", ({ seq }) => {
      if (seq === 1) throw Object.create(null);
    });
    const socket = await welcomed(client);
    socket.message(1);
    socket.message(2);
    await ackOf(socket, 2);
    expect(errors).toEqual(["A message handler failed: something that cannot be shown as text"]);
  });

  it("leaves acks to the application in manual mode", async () => {
    const client = newClient({ ack: "manual" });
    const seen: { epoch: string; seq: number }[] = [];
    client.on("message", (message) => seen.push(message));
    const first = await welcomed(client);
    for (const seq of [1, 2, 3]) first.message(seq);
    await waitFor(() => seen.length === 3, { what: "three messages" });
    expect(client.ack(seen[1]!)).toBe(true);
    await ackOf(first, 2);
    expect(client.ack({ epoch: "e1", seq: 9 })).toBe(false);
    expect(client.ack({ epoch: "e0", seq: 1 })).toBe(false);
    first.cut();
    const second = await accept();
    expect(second.query.get("since")).toBe("2");
    expect(first.untaken).toEqual([]);
  });

  it("asks the server to acknowledge in auto mode, and sends no acks", async () => {
    const client = newClient({ ack: "auto" });
    const seen: number[] = [];
    client.on("message", ({ seq }) => seen.push(seq));
    const socket = await welcomed(client);
    expect(socket.query.get("ack")).toBe("auto");
    socket.message(1);
    await waitFor(() => client.position?.since === 1, { what: "the position to move" });
    await expect(socket.next("ack", 60)).rejects.toThrow("no frame");
  });

  it("starts at a saved position and saves each new one", async () => {
    const saved: Position[] = [];
    const client = newClient({
      position: { epoch: "e1", since: 40 },
      savePosition: (position) => void saved.push(position),
    });
    client.on("message", () => undefined);
    const socket = await welcomed(client, { after: 40, resumed: true });
    expect([socket.query.get("epoch"), socket.query.get("since")]).toEqual(["e1", "40"]);
    socket.message(41);
    await socket.next("ack");
    expect(saved).toEqual([{ epoch: "e1", since: 41 }]);
  });

  it("ignores unknown frames", async () => {
    const client = newClient();
    const errors: string[] = [];
    client.on("error", ({ code }) => errors.push(code));
    client.on("message", () => undefined);
    const socket = await welcomed(client, { extra: true });
    socket.send({ type: "something_new", seq: 1 });
    socket.sendRaw("not JSON");
    socket.sendRaw(Buffer.from([1, 2]));
    socket.message(1, { colour: "red" });
    await socket.next("ack");
    expect(errors).toEqual([clientErrorCodes.badFrame, clientErrorCodes.badFrame]);
    expect(client.state).toBe("online");
  });

  it("acknowledges a message whose handler closes the client", async () => {
    for (const seq of [1, 2]) {
      const client = newClient();
      client.on("message", (message) => {
        if (message.seq === seq) void client.close();
      });
      const socket = await welcomed(client);
      for (let n = 1; n <= seq; n++) socket.message(n);
      await ackOf(socket, seq);
      expect(await socket.closed).toMatchObject({ code: 1000 });
    }
  });

  it("acknowledges the running handler's message when closed, and receives the rest again later", async () => {
    const client = newClient();
    const seen: number[] = [];
    let finish: (() => void) | undefined;
    client.on("message", ({ seq }) => {
      seen.push(seq);
      return seq === 1 ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
    });
    const first = await welcomed(client);
    first.message(1);
    first.message(2);
    await waitFor(() => finish, { what: "the handler to start" });
    const closed = client.close();
    finish?.();
    await closed;
    await ackOf(first, 1);
    expect(await first.closed).toMatchObject({ code: 1000 });
    expect(seen).toEqual([1]);

    client.connect();
    const second = await accept();
    expect(second.query.get("since")).toBe("1");
    second.welcome({ after: 1, resumed: true });
    second.message(2);
    await ackOf(second, 2);
    expect(seen).toEqual([1, 2]);
  });

  it("delivers nothing twice when it is closed after the epoch changed under a running handler", async () => {
    const client = newClient({ timing: { closeGraceMs: 1 } });
    const seen: string[] = [];
    let finish: (() => void) | undefined;
    client.on("message", ({ id }) => {
      seen.push(id);
      return id === "m1" ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
    });
    const first = await welcomed(client);
    first.message(1);
    first.message(2);
    await waitFor(() => finish, { what: "the handler to start" });
    first.close(1012);
    const second = await accept();
    second.welcome({ epoch: "e2" });
    for (const seq of [1, 2, 3]) second.message(seq);
    await waitFor(() => client.position?.epoch === "e2", { what: "the new epoch" });
    await client.close();
    client.connect();
    const third = await accept();
    expect([third.query.get("epoch"), third.query.get("since")]).toEqual(["e2", "0"]);
    third.welcome({ epoch: "e2", resumed: true });
    for (const seq of [1, 2, 3]) third.message(seq);
    finish?.();
    await ackOf(third, 3);
    expect(seen).toEqual(["m1", "m2", "m3"]);
  });
});
