// How long acks may linger, for any timeout that can be configured.
import { expect, test } from "vitest";
import { ackTimesOf } from "./ack-times.js";

test.each([
  [100, 25, 5],
  [1_000, 250, 50],
  [10_000, 300, 50],
])(
  "with a dispatcher that checks for acks after %d ms: %d ms in the client, %d in the node",
  (timeoutMs, clientMs, nodeMs) => {
    expect(ackTimesOf(timeoutMs)).toEqual({ clientMs, nodeMs });
  },
);
