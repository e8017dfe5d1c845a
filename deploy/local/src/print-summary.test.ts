// Tests what is shown once everything is up.
// Guarantees: the command for the tool finds this run's dev.json, wherever the data is.
import { expect, test } from "vitest";
import type { DevFile } from "./data/dev-file.js";
import { summaryLines } from "./print-summary.js";

const cluster: DevFile = {
  auth: "http://127.0.0.1:7101",
  collect: "http://127.0.0.1:7102",
  collects: ["http://127.0.0.1:7102"],
  dispatch: "http://127.0.0.1:7103",
  console: "http://127.0.0.1:7100",
  nodes: ["ws://127.0.0.1:7110/v1/connect"],
  apnsSimulator: "http://127.0.0.1:7104",
  webPushSimulator: "http://127.0.0.1:7129",
  wechatSimulator: "http://127.0.0.1:7105",
  wechatAppid: "wxdemoaccount",
  redis: "redis://:secret@127.0.0.1:7109",
  apiKey: "pk_key",
  apiSecret: "secret",
  adminToken: "pk_admin.secret",
};

test.each([
  ["/clone/.data", "npx petrel listen ada"],
  ["/var/petrel", "npx petrel listen ada --config /var/petrel/dev.json"],
  ["/clone/of mine", "npx petrel listen ada --config '/clone/of mine/dev.json'"],
])("with data in %s the tool is called as `%s`", (dataDirectory, command) => {
  const lines = summaryLines(cluster, { repositoryRoot: "/clone", dataDirectory }, "4.7 s");
  expect(lines.find((line) => line.includes("npx petrel"))?.trim()).toBe(command);
});
