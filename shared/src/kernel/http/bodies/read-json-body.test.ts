// Tests what happens to text in a JSON body, on the reader that auth, collect and dispatch use.
import { expect, test } from "vitest";
import { buildHttpApp } from "../http-app.js";
import { createLogger } from "../../logging/logging.js";
import { addJsonBodyReader } from "./read-json-body.js";

test("keeps a body unchanged: half an emoji, also in names, and what looks like one", async () => {
  const app = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger: createLogger({ service: "test", level: "silent" }),
    bodyLimitBytes: 1_000,
    documented: true,
    readiness: () => ({ ready: true, checks: {} }),
  });
  addJsonBodyReader(app, 1_000);
  app.post("/things", { schema: { body: {} } }, (request) => request.body);
  const payload = String.raw`{"data":{"cut \ud83d":["\ude00 left","\ud83d\ude00","\\ud83d"]}}`;
  const headers = { "content-type": "application/json" };
  const answer = await app.inject({ method: "POST", url: "/things", headers, payload });
  expect(answer.json()).toEqual({
    data: { "cut \ud83d": ["\ude00 left", "\ud83d\ude00", "\\ud83d"] },
  });
  await app.close();
});
