// The local run: what is shown once everything is up.
// Guarantees: its command works when pasted.
import type { DevFile } from "./data/dev-file.js";

export function summaryLines(cluster: DevFile, dataDirectory: string, took: string): string[] {
  return [
    "",
    `Petrel runs (started in ${took}).`,
    "",
    `  console     ${cluster.console}`,
    `  auth        ${cluster.auth}`,
    `  collect     ${cluster.collect}  (API: ${cluster.collect}/docs)`,
    ...cluster.collects.slice(1).map((url, i) => `  collect ${i + 2}   ${url}`),
    `  dispatch    ${cluster.dispatch}`,
    ...cluster.nodes.map((url, i) => `  push node ${i + 1} ${url}`),
    `  iPhones     ${cluster.apnsSimulator}  (the APNs simulator; the console shows a phone)`,
    `  browsers    ${cluster.webPushSimulator}  (the Web Push simulator; the console shows a browser)`,
    `  WeChat      ${cluster.wechatSimulator}  (the WeChat simulator; its app is ${cluster.wechatAppid})`,
    `  data, logs  ${dataDirectory}`,
    "",
    "Receive as the user ada:",
    "",
    "  npx petrel listen ada",
    "",
    "Send to her:",
    "",
    `  curl -sS ${cluster.collect}/v1/messages \\`,
    `    -H 'Authorization: Bearer ${cluster.apiKey}.${cluster.apiSecret}' \\`,
    "    -H 'Content-Type: application/json' \\",
    `    -d '{"to":{"user":"ada"},"data":{"text":"hello"}}'`,
    "",
    "Ctrl-C stops it.",
  ];
}
