// Tests how the APNs simulator's connections behave, by a bare HTTP/2 client over TLS.
// Guarantees: streams as Apple counts them, GOAWAY, black holes, latency, scripted answers, certificates.
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type ClientHttp2Session, type OutgoingHttpHeaders } from "node:http2";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import {
  connectProvider,
  signProviderToken,
  type RawProvider,
} from "@petrel/shared/testing/peers/raw-apns-provider";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { clientCertificate, clientCertificateKey } from "@petrel/shared/testing/tls/client-certificate";

const topic = "com.example.petrel";
const payload = JSON.stringify({ aps: { alert: "hello" } });

/** To change the behaviour before the answer, on a busy machine too. */
const LONG_ENOUGH_MS = 2_000;

let simulator: TestApnsSimulator;
let authorization: string;
let directory: string;
const providers: RawProvider[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-apns-test-"));
  const clientCa = join(directory, "client-ca.pem");
  await writeFile(clientCa, clientCertificate);
  simulator = await startApnsSimulator({ environment: { APNS_SIMULATOR_CLIENT_CA_FILE: clientCa } });
  authorization = `bearer ${signProviderToken(simulator)}`;
});
afterEach(async () => {
  for (const provider of providers.splice(0)) provider.close();
  await simulator.setBehaviour({
    latencyMs: 0,
    maxConcurrentStreams: 1000,
    blackhole: false,
    answer: null,
  });
});
afterAll(async () => {
  await simulator?.stop();
  await rm(directory, { recursive: true, force: true });
});

const newToken = (): string => randomBytes(32).toString("hex");

function headers(token = newToken(), changes: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  return {
    ":method": "POST",
    ":path": `/3/device/${token}`,
    authorization,
    "apns-id": randomUUID(),
    "apns-topic": topic,
    "apns-push-type": "alert",
    ...changes,
  };
}

async function open(): Promise<RawProvider> {
  const provider = await connectProvider(simulator.endpoint, simulator.caFile);
  providers.push(provider);
  return provider;
}

const streamsOf = ({ session }: RawProvider): number | undefined =>
  session.remoteSettings.maxConcurrentStreams;
const untilStreams = (provider: RawProvider, count: number) =>
  waitFor(() => streamsOf(provider) === count, { what: `${count} streams` });
/** A connection on which one request has been answered. */
async function openKnown(streams = 1000): Promise<RawProvider> {
  const provider = await open();
  expect(await provider.send(headers(), payload)).toMatchObject({ status: 200 });
  await untilStreams(provider, streams);
  return provider;
}
/** So many requests at once; each ends in its status or its error's code. */
function sendMany(provider: RawProvider, count: number, token?: string): Promise<(number | string)[]> {
  return Promise.all(
    Array.from({ length: count }, () =>
      provider.send(headers(token), payload).then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.message,
      ),
    ),
  );
}
const untilOpen = (count: number) =>
  waitFor(async () => (await simulator.stats()).streams.open === count, { what: `${count} open streams` });
const ping = (session: ClientHttp2Session): Promise<void> =>
  new Promise((resolve, reject) => {
    session.ping((error) => (error === null ? resolve() : reject(error)));
  });

describe("streams", () => {
  test("one until the connection is authenticated, then the full number", async () => {
    const provider = await open();
    expect(streamsOf(provider)).toBe(1);
    const bad = headers(newToken(), { authorization: "bearer x" });
    expect(await provider.send(bad, payload)).toMatchObject({ status: 403 });
    await ping(provider.session);
    expect(streamsOf(provider)).toBe(1);
    // Known by its token, though the request was wrong.
    expect(await provider.send(headers("00"), payload)).toMatchObject({ reason: "BadDeviceToken" });
    await untilStreams(provider, 1000);
  });

  test("the number follows the setting", async () => {
    const provider = await openKnown();
    await simulator.setBehaviour({ maxConcurrentStreams: 7 });
    await untilStreams(provider, 7);
    await openKnown(7);
  });

  test("refuses streams beyond it with REFUSED_STREAM", async () => {
    await simulator.setBehaviour({ latencyMs: 100 });
    // Before the server's SETTINGS have been taken note of: all go out in the first flight.
    const session = connect(simulator.endpoint, { ca: readFileSync(simulator.caFile) });
    session.on("error", () => undefined);
    const ends = await Promise.all(
      Array.from(
        { length: 5 },
        () =>
          new Promise<string>((resolve) => {
            const stream = session.request(headers());
            stream.once("response", ({ ":status": status }) => resolve(String(status)));
            stream.once("error", (error) => resolve(error.message));
            stream.end(payload);
          }),
      ),
    );
    session.destroy();
    expect(ends.toSorted()).toEqual([
      "200",
      ...Array.from({ length: 4 }, () => expect.stringMatching(/NGHTTP2_REFUSED_STREAM/) as unknown),
    ]);
  });
});

describe("GOAWAY", () => {
  test("answers streams up to the last, refuses later ones, which count as not received; then closes", async () => {
    const provider = await openKnown();
    await simulator.setBehaviour({ latencyMs: LONG_ENOUGH_MS });
    const token = newToken();
    const sent = sendMany(provider, 6, token);
    await untilOpen(6);
    await simulator.setBehaviour({ goaway: { lastStream: "middle" } });
    const { lastStreamId, data } = await provider.goaway;
    // Stream 1 was the first request; 3, 5 and 7 are the half that is kept.
    expect([lastStreamId, JSON.parse(data)]).toEqual([7, { reason: "Shutdown" }]);
    expect((await sent).map(String)).toEqual([
      "200",
      "200",
      "200",
      ...Array.from({ length: 3 }, () => expect.stringContaining("REFUSED_STREAM") as unknown),
    ]);
    await waitFor(() => provider.session.destroyed, { what: "the end of the connection" });
    expect(await simulator.notifications(token)).toHaveLength(3);
  });

  test.each([
    ["newest", 4],
    ["none", 0],
  ] as const)("the last stream is the %s: %i arrive", async (lastStream, arrive) => {
    const provider = await openKnown();
    await simulator.setBehaviour({ latencyMs: LONG_ENOUGH_MS });
    const token = newToken();
    const sent = sendMany(provider, 4, token);
    await untilOpen(4);
    await simulator.setBehaviour({ goaway: { lastStream } });
    expect((await sent).filter((end) => end === 200)).toHaveLength(arrive);
    expect(await simulator.notifications(token)).toHaveLength(arrive);
  });

  test("to one connection leaves the other alone", async () => {
    const [first, second] = [await openKnown(), await openKnown()];
    await simulator.setBehaviour({ goaway: { connections: 1 } });
    await waitFor(() => first.session.destroyed || second.session.destroyed, { what: "one to close" });
    const left = first.session.destroyed ? second : first;
    expect(await left.send(headers(), payload)).toMatchObject({ status: 200 });
  });
});

describe("a black hole", () => {
  test("accepts and never answers, not even a PING; nothing is recorded; other connections go on", async () => {
    const [first, second] = [await openKnown(), await openKnown()];
    await simulator.setBehaviour({ latencyMs: LONG_ENOUGH_MS });
    const token = newToken();
    const ends: (number | string)[] = [];
    void sendMany(first, 1, token).then((got) => ends.push(...got));
    await untilOpen(1);
    // The busiest one is taken.
    await simulator.setBehaviour({ blackhole: { connections: 1 }, latencyMs: 0 });
    let pinged = false;
    void ping(first.session).then(
      () => (pinged = true),
      () => undefined,
    );
    void sendMany(first, 1, token).then((got) => ends.push(...got));
    await ping(second.session);
    expect(await second.send(headers(), payload)).toMatchObject({ status: 200 });
    await waitFor(async () => (await simulator.stats()).swallowed === 1, { what: "the swallowed request" });
    expect([pinged, ends, first.session.destroyed]).toEqual([false, [], false]);
    expect(await simulator.notifications(token)).toEqual([]);
    // New ones are as usual: only so many were asked for.
    await openKnown();
  });

  test("that delivers: the phone shows it, and only the answer is lost", async () => {
    const provider = await openKnown();
    await simulator.setBehaviour({ latencyMs: LONG_ENOUGH_MS });
    const token = newToken();
    let isAnswered = false;
    void provider.send(headers(token), payload).then(
      () => (isAnswered = true),
      () => undefined,
    );
    await untilOpen(1);
    await simulator.setBehaviour({ blackhole: { connections: 1, delivering: true } });
    await waitFor(async () => (await simulator.notifications(token)).length === 1, {
      what: "the notification",
    });
    expect(isAnswered).toBe(false);
  });

  test("for all also swallows new connections, until it ends", async () => {
    const { opened } = (await simulator.stats()).connections;
    await simulator.setBehaviour({ blackhole: true });
    const session = connect(simulator.endpoint, { ca: readFileSync(simulator.caFile) });
    session.on("error", () => undefined);
    const stream = session.request(headers());
    let isAnswered = false;
    stream.on("response", () => (isAnswered = true)).on("error", () => undefined);
    stream.end(payload);
    await waitFor(async () => (await simulator.stats()).connections.opened > opened, {
      what: "the connection to be swallowed",
    });
    await simulator.setBehaviour({ blackhole: false });
    await openKnown();
    expect(isAnswered).toBe(false);
    session.destroy();
  });
});

describe("answers", () => {
  test("come after the latency, those of one batch together", async () => {
    const provider = await openKnown();
    await simulator.setBehaviour({ latencyMs: 200 });
    const before = performance.now();
    expect(await sendMany(provider, 50)).toEqual(Array.from({ length: 50 }, () => 200));
    const took = performance.now() - before;
    expect(took).toBeGreaterThan(195);
  });

  test("scripted for all, for a number of requests, with Retry-After", async () => {
    const provider = await openKnown();
    await simulator.setBehaviour({
      answer: { status: 503, reason: "ServiceUnavailable", retryAfter: 7, times: 2 },
    });
    const answers = [1, 2, 3].map(() => provider.send(headers(), payload));
    expect((await Promise.all(answers)).map(({ status, retryAfter }) => [status, retryAfter])).toEqual([
      [503, "7"],
      [503, "7"],
      [200, undefined],
    ]);
  });

  test("scripted for a token go before those for all", async () => {
    const provider = await openKnown();
    const token = newToken();
    await simulator.setBehaviour({ answer: { status: 500, reason: "InternalServerError" } });
    await simulator.setAnswer(token, { status: 429, reason: "TooManyRequests", retryAfter: 3, times: 1 });
    const reasons = [];
    for (let i = 0; i < 2; i++) reasons.push((await provider.send(headers(token), payload)).reason);
    expect(reasons).toEqual(["TooManyRequests", "InternalServerError"]);
  });

  test("to a client that has left: its requests still count as received", async () => {
    const provider = await openKnown();
    await simulator.setBehaviour({ latencyMs: LONG_ENOUGH_MS });
    const token = newToken();
    const sent = sendMany(provider, 1, token);
    await untilOpen(1);
    provider.close();
    await sent;
    await waitFor(async () => (await simulator.notifications(token)).length === 1, { what: "it to arrive" });
  });
});

describe("a connection", () => {
  test("must speak HTTP/2", async () => {
    const { hostname, port } = new URL(simulator.endpoint);
    const ca = readFileSync(simulator.caFile);
    const tryWith = (ALPNProtocols: string[] | undefined): Promise<string> =>
      new Promise((resolve) => {
        const socket = connectTls({
          host: hostname,
          port: Number(port),
          ca,
          ...(ALPNProtocols === undefined ? {} : { ALPNProtocols }),
        });
        socket.once("error", () => resolve("closed"));
        socket.once("close", () => resolve("closed"));
        socket.on("data", (data: Buffer) => resolve(data.toString("latin1")));
        socket.once("secureConnect", () => socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
      });
    expect(await tryWith(["http/1.1"])).toBe("closed");
    expect(await tryWith(undefined)).toBe("closed");
  });

  test("may use a certificate instead of a token: full streams at once, its topic by default, no other", async () => {
    const certified = await connectProvider(simulator.endpoint, simulator.caFile, {
      cert: clientCertificate,
      key: clientCertificateKey,
    });
    providers.push(certified);
    await untilStreams(certified, 1000);
    const bare = (changes: OutgoingHttpHeaders): OutgoingHttpHeaders => {
      const { authorization: _none, "apns-topic": _topic, ...rest } = headers();
      return { ...rest, ...changes };
    };
    const results = [
      await certified.send(bare({}), payload),
      await certified.send(bare({ "apns-topic": `${topic}.voip`, "apns-push-type": "voip" }), payload),
      await certified.send(bare({ "apns-topic": "com.example.other" }), payload),
    ];
    expect(results.map(({ status, reason }) => [status, reason])).toEqual([
      [200, undefined],
      [200, undefined],
      [400, "BadTopic"],
    ]);
  });

  test("with a certificate that nobody signed: BadCertificate", async () => {
    const mine = await startApnsSimulator({
      environment: { APNS_SIMULATOR_CLIENT_CA_FILE: simulator.caFile },
    });
    const certified = await connectProvider(mine.endpoint, mine.caFile, {
      cert: clientCertificate,
      key: clientCertificateKey,
    });
    expect(await certified.send(headers(), payload)).toMatchObject({ status: 403, reason: "BadCertificate" });
    certified.close();
    await mine.stop();
  });
});
