// Tests mistakes of the application, over real sockets to a scripted push node.
// Guarantees: a wrong option, position, event name, handler or savePosition does as little harm as possible, and the
// developer hears of it even if nobody listens.
import { runInNewContext } from "node:vm";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { clientErrorCodes, PetrelClient, type PetrelClientError, type Position } from "./client.js";

let peer: WsPeer;
let clients: PetrelClient[];
let toConsole: { level: string; error: PetrelClientError }[];

beforeEach(async () => {
  peer = await WsPeer.start();
  clients = [];
  toConsole = [];
  for (const level of ["error", "warn"] as const) {
    vi.spyOn(console, level).mockImplementation((error: PetrelClientError) => {
      toConsole.push({ level, error });
    });
  }
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await peer.close();
  vi.restoreAllMocks();
});

/** The way JavaScript may call it. */
function newClient(options: Readonly<Record<string, unknown>> = {}): PetrelClient {
  const { timing, ...rest } = options;
  const client = new PetrelClient({
    url: peer.url,
    getToken: () => "token",
    WebSocket,
    ...rest,
    timing: { backoffBaseMs: 20, backoffCapMs: 100, ...(timing as object | undefined) },
  });
  clients.push(client);
  return client;
}

async function welcomed(client: PetrelClient, fields = {}): Promise<PeerSocket> {
  client.connect();
  const socket = await peer.accept();
  socket.welcome(fields);
  await client.whenOnline();
  return socket;
}

function errorsOf(client: PetrelClient): string[] {
  const errors: string[] = [];
  client.on("error", ({ code, message }) => errors.push(`${code} ${message}`));
  return errors;
}

describe("a handler", () => {
  it("that throws is reported on the console if nobody listens for errors", async () => {
    const client = newClient();
    const cause = new Error("no");
    client.on("message", () => {
      throw cause;
    });
    const socket = await welcomed(client);
    socket.message(1);
    await socket.next("ack");
    expect(toConsole).toMatchObject([
      { level: "error", error: { code: clientErrorCodes.handlerFailed, messageId: "m1", cause } },
    ]);
  });

  it("that throws is reported only once if somebody listens", async () => {
    const client = newClient();
    const errors = errorsOf(client);
    client.on("message", () => Promise.reject(new Error("no")));
    const socket = await welcomed(client);
    socket.message(1);
    await socket.next("ack");
    expect([errors.length, toConsole]).toEqual([1, []]);
  });

  it("of another event that throws, and a getToken that fails, are reported too; a lost network is not", async () => {
    let calls = 0;
    const client = newClient({
      getToken: () => {
        if (++calls === 1) throw new Error("no session");
        return "token";
      },
    });
    client.on("online", () => {
      throw new Error("no");
    });
    (await welcomed(client)).cut();
    (await peer.accept()).cut();
    (await peer.accept()).welcome();
    await client.whenOnline();
    expect(toConsole.map(({ error }) => error.code)).toEqual([
      clientErrorCodes.tokenFailed,
      clientErrorCodes.listenerFailed,
      clientErrorCodes.listenerFailed,
    ]);
  });

  it("that does not finish causes one warning and is still awaited", async () => {
    const client = newClient({ timing: { handlerWarningMs: 20 } });
    const warnings: PetrelClientError[] = [];
    client.on("warning", (warning) => warnings.push(warning));
    let finish: (() => void) | undefined;
    client.on("message", ({ seq }) =>
      seq === 1 ? new Promise<void>((resolve) => (finish = resolve)) : undefined,
    );
    const socket = await welcomed(client);
    socket.message(1);
    socket.message(2);
    await waitFor(() => warnings.length === 1, { what: "the warning" });
    await expect(socket.next("ack", 60)).rejects.toThrow("no frame");
    finish?.();
    expect(await socket.next("ack")).toMatchObject({ seq: 2 });
    expect(warnings).toMatchObject([
      { code: clientErrorCodes.handlerSlow, messageId: "m1", retryable: true },
    ]);
    expect(toConsole).toEqual([]);
  });

  it("that does not finish is reported on the console if nobody listens for warnings", async () => {
    const client = newClient({ timing: { handlerWarningMs: 20, closeGraceMs: 1 } });
    errorsOf(client);
    client.on("message", () => new Promise(() => undefined));
    const socket = await welcomed(client);
    socket.message(1);
    await waitFor(() => toConsole.length === 1, { what: "the warning" });
    expect(toConsole).toMatchObject([{ level: "warn", error: { code: clientErrorCodes.handlerSlow } }]);
  });

  it("of another event is reported if it returns a rejecting promise of any kind", async () => {
    const client = newClient();
    const errors = errorsOf(client);
    // Like a promise from another frame: not an instance of this frame's Promise.
    client.on("welcome", () => runInNewContext("Promise.reject('later')"));
    await welcomed(client);
    await waitFor(() => errors.length === 1, { what: "the error" });
    expect(errors).toEqual([`${clientErrorCodes.listenerFailed} A listener of "welcome" failed: later`]);
  });

  it("that is not a function, and an unknown event, are reported", async () => {
    const client = newClient();
    const errors = errorsOf(client);
    expect(() => client.on("message", undefined as never)).toThrow(TypeError);
    expect(() => client.once("closed", "x" as never)).toThrow(TypeError);
    client.on("mesage" as never, () => undefined)();
    await waitFor(() => errors.length === 1, { what: "the error" });
    expect(errors[0]).toContain(`${clientErrorCodes.badOption} on("mesage"): there is no such event`);
  });
});

describe("a saved position", () => {
  it.each([
    ["from an older page", { epoch: "e1", seq: 4 }],
    ["with a number as text", { epoch: "e1", since: "4" }],
    ["with an invalid number", { epoch: "e1", since: Number.NaN }],
    ["before the first", { epoch: "e1", since: -1 }],
    ["between two", { epoch: "e1", since: 1.5 }],
    ["without an epoch", { epoch: "", since: 4 }],
    ["of an invalid epoch", { epoch: "e 1", since: 4 }],
    ["as text", '{"epoch":"e1","since":4}'],
    ["as a number", 4],
  ])("%s is reported and ignored", async (_what, position) => {
    const client = newClient({ position });
    const errors = errorsOf(client);
    client.connect();
    const socket = await peer.accept();
    expect([...socket.query.keys()]).toEqual([]);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`${clientErrorCodes.badOption} position:`);
    expect(client.position).toBeUndefined();
  });

  it.each([[undefined], [null]])("%s counts as none, without an error", async (position) => {
    const client = newClient({ position });
    await welcomed(client);
    expect(toConsole).toEqual([]);
  });
});

describe("an option", () => {
  it("that is undefined counts as absent", async () => {
    const client = newClient({
      position: undefined,
      savePosition: undefined,
      credentials: undefined,
      ack: undefined,
      getTicket: undefined,
      networkEvents: undefined,
      timing: { connectTimeoutMs: undefined, tokenTimeoutMs: undefined },
    });
    await welcomed(client);
    expect(toConsole).toEqual([]);
  });

  it.each([
    ["timing.connectTimeoutMs", { timing: { connectTimeoutMs: "soon" } }],
    ["timing.connectTimeoutMs", { timing: { connectTimeoutMs: 0 } }],
    ["timing.tokenTimeoutMs", { timing: { tokenTimeoutMs: Number.NaN } }],
    ["timing.probeMs", { timing: { probeMs: -1 } }],
    ["timing.conectTimeoutMs", { timing: { conectTimeoutMs: 5 } }],
    ["savePosition", { savePosition: "localStorage" }],
    ["networkEvents", { networkEvents: {} }],
    ["savePositon", { savePositon: () => undefined }],
  ])("%s that is wrong is reported and ignored", async (name, options) => {
    const client = newClient(options);
    const errors = errorsOf(client);
    client.on("message", () => undefined);
    const socket = await welcomed(client);
    socket.message(1);
    await socket.next("ack");
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`${clientErrorCodes.badOption} ${name}:`);
  });

  it("that is an infinite time does not fire at once", async () => {
    const client = newClient({ timing: { connectTimeoutMs: Infinity, tokenTimeoutMs: 2 ** 40 } });
    const errors = errorsOf(client);
    await welcomed(client);
    expect([peer.accepted, errors]).toEqual([1, []]);
  });

  it.each([
    ["ack", { ack: "manul" }],
    ["credentials", { credentials: "first_frame" }],
    ["WebSocket", { WebSocket: {} }],
    ["url", { url: undefined }],
    ["url", { url: [undefined] }],
    ["url", { url: "ws://127.0.0.1/v1/connect#top" }],
    ["url", { url: "ws://127.0.0.1/v1/connect?token=t" }],
  ])("%s is refused if nothing can stand in for it", (name, options) => {
    expect(() => newClient(options)).toThrow(new RegExp(`^${name}:`));
  });
});

it("reports an ignored option even if another one makes the client impossible", async () => {
  expect(() => newClient({ savePositon: () => undefined, url: "ftp://example.test" })).toThrow(/^url:/);
  await waitFor(() => toConsole.length === 1, { what: "the complaint" });
  expect(toConsole).toMatchObject([{ level: "error", error: { code: clientErrorCodes.badOption } }]);
});

describe("savePosition", () => {
  it("is called before the ack, which does not wait for it, and never twice at once", async () => {
    const saves: { position: Position; done: () => void }[] = [];
    const client = newClient({
      savePosition: (position: Position) =>
        new Promise<void>((resolve) => saves.push({ position, done: resolve })),
      // Longer than a loaded machine ever pauses. The test waits for the call, not for this.
      timing: { closeGraceMs: 600_000, savePositionTimeoutMs: 600_000 },
    });
    client.on("message", () => undefined);
    const socket = await welcomed(client);
    for (const seq of [1, 2, 3]) {
      socket.message(seq);
      expect(await socket.next("ack")).toMatchObject({ seq });
      expect(saves).toHaveLength(1);
    }
    saves[0]?.done();
    await waitFor(() => saves.length === 2, { what: "the next call" });
    // Where the first message is slow to come, the place before it is saved first.
    expect([0, 1]).toContain(saves[0]?.position.since);
    // Only the newest: nobody needs the ones in between.
    expect(saves[1]?.position.since).toBe(3);
    const closed = client.close();
    let isClosed = false;
    void closed.then(() => (isClosed = true));
    await socket.closed;
    expect(isClosed).toBe(false);
    saves[1]?.done();
    await closed;
  });

  it("that never ends is reported and delays neither later calls nor the close", async () => {
    const saved: number[] = [];
    const client = newClient({
      savePosition: ({ since }: Position) => {
        saved.push(since);
        return new Promise(() => undefined);
      },
      timing: { savePositionTimeoutMs: 20, closeGraceMs: 20 },
    });
    const errors = errorsOf(client);
    client.on("message", () => undefined);
    const socket = await welcomed(client);
    for (const seq of [1, 2]) {
      socket.message(seq);
      await socket.next("ack");
    }
    await waitFor(() => saved.length === 2, { what: "the second call" });
    expect(errors[0]).toContain(
      `${clientErrorCodes.savePositionFailed} savePosition failed: no answer within`,
    );
    await client.close();
    await socket.closed;
  });
});
