// Tests of what goes wrong with a topic: refusals, and handlers that fail, over real sockets to a scripted push node.
// Guarantees: each is told to whom it concerns, and ends nothing else.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describe, expect, it } from "vitest";
import {
  entries,
  refuse,
  roundTrip,
  say,
  subscribed,
  useTopicPeer,
} from "../../../../test/support/clients/topic-peer.js";
import { clientErrorCodes, type PetrelClientError } from "../client.js";

const { again, newClient, welcomed } = useTopicPeer();

describe("a refusal", () => {
  it("reaches only the handle; the next connection asks again", async () => {
    const client = newClient();
    const refusals: string[] = [];
    const clientErrors: string[] = [];
    client.on("error", ({ code }) => clientErrors.push(code));
    const handle = client.subscribe("token", { onError: ({ code }) => refusals.push(code) });
    const other = client.subscribe("other", {});
    const socket = await welcomed(client);
    await socket.next("subscribe");
    // Not to be taken for a word about the token, whatever the topic is called.
    refuse(socket, "subscribe", "token", "PETREL_FORBIDDEN");
    subscribed(socket, "other", 0);
    await waitFor(() => other.state === "subscribed", { what: "the other" });
    expect([handle.state, handle.error?.code, refusals]).toEqual([
      "refused",
      "PETREL_FORBIDDEN",
      ["PETREL_FORBIDDEN"],
    ]);
    expect([client.state, clientErrors]).toEqual(["online", []]);
    socket.cut();
    const next = await again();
    expect(await entries(next, "subscribe")).toMatchObject([{ topic: "token" }, { topic: "other" }]);
    refuse(next, "subscribe", "token", "PETREL_FORBIDDEN");
    await waitFor(() => handle.state === "refused", { what: "the refusal" });
    // The same is told once.
    expect(refusals).toHaveLength(1);
    // A fresh token may allow it.
    next.send({ type: "token_accepted", expiresIn: 60 });
    expect(await entries(next, "subscribe")).toEqual([{ topic: "token" }]);
    subscribed(next, "token", 0);
    await waitFor(() => handle.state === "subscribed" && handle.error === undefined, { what: "the pardon" });
  });

  it("without onError becomes an error of the client", async () => {
    const client = newClient();
    const errors: PetrelClientError[] = [];
    client.on("error", (error) => errors.push(error));
    client.subscribe("room.1", {});
    const socket = await welcomed(client);
    await socket.next("subscribe");
    refuse(socket, "subscribe", "room.1", "PETREL_TOO_MANY_TOPICS");
    await waitFor(() => errors.length === 1, { what: "the error" });
    expect(errors[0]).toMatchObject({ code: "PETREL_TOO_MANY_TOPICS", topic: "room.1", retryable: false });
  });

  it("that is temporary is retried later on the same connection", async () => {
    const client = newClient();
    const handle = client.subscribe("room.1", { onError: () => undefined });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    refuse(socket, "subscribe", "room.1", "PETREL_UNAVAILABLE", "backoff");
    await socket.next("subscribe");
    expect(handle.state).toBe("subscribing");
  });

  it("of a fresh token that no longer covers a topic ends its subscription", async () => {
    const client = newClient();
    const codes: string[] = [];
    const handle = client.subscribe("room.1", { onError: ({ code }) => codes.push(code) });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 3);
    socket.send({ type: "unsubscribed", topic: "room.1", reason: "forbidden" });
    await waitFor(() => handle.state === "refused", { what: "the end" });
    expect([codes, socket.untaken]).toEqual([["PETREL_FORBIDDEN"], []]);
  });

  it("of presence keeps the subscription of those who do not need presence", async () => {
    const client = newClient();
    const curious = client.subscribe("room.1", { presence: true, onError: () => undefined });
    const plain = client.subscribe("room.1", {});
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1", presence: true }]);
    refuse(socket, "subscribe", "room.1", "PETREL_FORBIDDEN");
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(socket, "room.1", 0);
    await waitFor(() => plain.state === "subscribed", { what: "the plain one" });
    expect(curious.state).toBe("refused");
  });

  it("by a node of the previous release costs nothing but time", async () => {
    const client = newClient({ timing: { publishTimeoutMs: 20_000 } });
    const handle = client.subscribe("room.1", { onError: () => undefined });
    const old = await welcomed(client, { features: ["ack", "resume"] });
    const published = client.publish("room.1", 1);
    await waitFor(() => handle.state === "refused", { what: "the refusal" });
    expect(handle.error).toMatchObject({ code: "PETREL_NOT_IMPLEMENTED", retryable: true });
    await roundTrip(client, old);
    // Such a node closes with 4400 for a frame that it does not know, and the client would stop.
    expect(old.frames).toEqual([]);
    old.close(1012);
    const next = await again();
    await next.next("subscribe");
    const { ref } = await next.next("publish");
    next.send({
      type: "published",
      ref,
      id: "m1",
      topic: "room.1",
      epoch: "t1",
      offset: 1,
      duplicate: false,
    });
    await published;
  });
});

describe("a topic's handler", () => {
  it("that throws is reported and counts as done; one that does not finish causes a warning", async () => {
    const client = newClient({ timing: { handlerWarningMs: 20 } });
    const told: unknown[] = [];
    client.on("error", ({ code, messageId }) => told.push([code, messageId]));
    client.on("warning", ({ code, messageId }) => told.push([code, messageId]));
    let finish: (() => void) | undefined;
    const handle = client.subscribe("room.1", {
      onMessage: ({ offset }) => {
        if (offset === 1) throw new Error("no");
        if (offset === 2) return new Promise<void>((resolve) => (finish = resolve));
        return undefined;
      },
    });
    const socket = await welcomed(client);
    subscribed(socket, "room.1", 0);
    for (const offset of [1, 2, 3]) say(socket, "room.1", offset);
    await waitFor(() => told.length === 2, { what: "both" });
    expect(told).toEqual([
      [clientErrorCodes.handlerFailed, "m1"],
      [clientErrorCodes.handlerSlow, "m2"],
    ]);
    expect(handle.position).toEqual({ epoch: "t1", offset: 1 });
    finish?.();
    await waitFor(() => handle.position?.offset === 3, { what: "the rest" });
  });

  it("of another callback that throws is reported too", async () => {
    const client = newClient();
    const errors: string[] = [];
    client.on("error", ({ code }) => errors.push(code));
    const fail = (): never => {
      throw new Error("no");
    };
    client.subscribe("room.1", { onSubscribed: fail, onPresence: fail });
    client.subscribe("room.2", { onError: () => Promise.reject(new Error("no")) });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 0);
    socket.send({ type: "presence", topic: "room.1", users: 1, connections: 1 });
    refuse(socket, "subscribe", "room.2", "PETREL_FORBIDDEN");
    await waitFor(() => errors.length === 3, { what: "the errors" });
    expect(errors.sort()).toEqual([
      clientErrorCodes.handlerFailed,
      clientErrorCodes.listenerFailed,
      clientErrorCodes.listenerFailed,
    ]);
  });
});
