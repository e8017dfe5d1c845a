// Tests which requests get a line, and what stands in it.
import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { AccessLog } from "./access-log.js";

const request = (url: string): IncomingMessage =>
  ({ method: "GET", url, headers: { authorization: "Bearer s3cr3t" } }) as IncomingMessage;
const answer = (status: number) => ({ requestId: "r1", route: "/things/:id", status, ms: 1.23456 });

function open(sample: number, drawn: readonly number[] = []) {
  const lines: unknown[] = [];
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs, wallMs: () => clock.nowMs };
  let at = 0;
  const log = new AccessLog({
    logger: { info: (fields: unknown) => void lines.push(fields) },
    sample,
    addressOf: () => "192.0.2.7",
    clock,
    random: () => drawn[at++ % drawn.length] ?? 0.5,
  });
  return { log, lines, clock };
}

test("a line says who, what and how long, without the path or headers", () => {
  const { log, lines } = open(1);
  log.answered(request("/things/1?ticket=s3cr3t&token=s3cr3t"), answer(200));
  expect(lines).toEqual([
    {
      requestId: "r1",
      method: "GET",
      route: "/things/:id",
      status: 200,
      ms: 1.235,
      address: "192.0.2.7",
    },
  ]);
});

test("logs a share of successful requests", () => {
  const { log, lines } = open(0.25, [0.1, 0.24, 0.25, 0.9]);
  for (let i = 0; i < 8; i++) log.answered(request("/"), answer(202));
  expect(lines).toHaveLength(4);
});

test("logs each failed request, up to a bound per second", () => {
  const { log, lines, clock } = open(0.01, [0.5]);
  for (let i = 0; i < 250; i++) log.answered(request("/"), answer([400, 401, 499, 503][i % 4] ?? 0));
  expect(lines).toHaveLength(100);
  clock.nowMs += 1_000;
  for (let i = 0; i < 3; i++) log.answered(request("/"), answer(500));
  expect(lines).toHaveLength(103);
});
