// Tests the probe against a real server, with and without a password, and without a server.
// Guarantees: replies of every kind arrive whole; a fault is an error that says so, within the deadline.
import { createServer } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../testing/free-port.js";
import { startRedis, type TestRedis } from "../testing/redis/start-redis.js";
import { probeRedis, RespError } from "./resp-probe.js";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

test("reads replies of every kind, in order", async () => {
  const long = "ü".repeat(200_000);
  const replies = await probeRedis(redis.url, [
    ["SET", "k", long],
    ["GET", "k"],
    ["GET", "none"],
    ["INCR", "n"],
    ["MGET", "n", "none"],
    ["NONSENSE"],
    ["LRANGE", "none", "0", "-1"],
  ]);
  expect(replies.slice(0, 5)).toEqual(["OK", long, null, 1, ["1", null]]);
  expect(replies[5]).toBeInstanceOf(RespError);
  expect(replies[6]).toEqual([]);
});

test("uses the URL's password and user, and reports a wrong one as refused", async () => {
  await probeRedis(redis.url, [["ACL", "SETUSER", "ada", "on", ">s€cret", "+@all", "~*"]]);
  const withUser = (password: string): string =>
    redis.url.replace("//", `//ada:${encodeURIComponent(password)}@`);
  expect(await probeRedis(withUser("s€cret"), [["ACL", "WHOAMI"]])).toEqual(["ada"]);
  await expect(probeRedis(withUser("other"), [["PING"]])).rejects.toThrow(/login was refused \(WRONGPASS/);
});

test("reports a closed port, a silent server, and another protocol", async () => {
  await expect(probeRedis(`redis://127.0.0.1:${await freePort()}`, [["PING"]])).rejects.toThrow(
    /ECONNREFUSED/,
  );
  const port = await freePort();
  let answer: string | undefined;
  const stranger = createServer((socket) => {
    socket.on("error", () => undefined).resume();
    if (answer !== undefined) socket.write(answer);
  });
  await new Promise<void>((resolve) => stranger.listen(port, "127.0.0.1", resolve));
  const url = `redis://127.0.0.1:${port}`;
  await expect(probeRedis(url, [["PING"]], { deadlineMs: 50 })).rejects.toThrow(/no answer within 50 ms/);
  answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
  await expect(probeRedis(url, [["PING"]])).rejects.toThrow(/does not speak Redis/);
  await new Promise((resolve) => stranger.close(resolve));
});
