// The local run: the text shown once everything is up.
// Guarantees: its commands work when pasted, in the clone.
import { join, relative } from "node:path";
import type { DevFile } from "./data/dev-file.js";

export interface SummaryPlaces {
  /** Where `npx petrel` is run. */
  readonly repositoryRoot: string;
  readonly dataDirectory: string;
}

export function summaryLines(
  cluster: DevFile,
  { repositoryRoot, dataDirectory }: SummaryPlaces,
  took: string,
): string[] {
  // The tool finds `.data/` by itself.
  const isUsual = relative(repositoryRoot, dataDirectory) === ".data";
  const config = isUsual ? "" : ` --config ${quoted(join(dataDirectory, "dev.json"))}`;
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
    `  npx petrel listen ada${config}`,
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

/** Quoted for a shell. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
