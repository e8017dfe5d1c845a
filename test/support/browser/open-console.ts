// Tests only: a cluster with its console, and the console's page in a real Chromium.
// Guarantees: what the page complains of is kept; `close` leaves no process and no file behind.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { serviceFile } from "@petrel/shared/testing/cluster/service-files";
import {
  startCluster,
  type StartClusterOptions,
  type TestCluster,
} from "@petrel/shared/testing/cluster/start-cluster";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { writeTopicRules } from "../../../deploy/local/src/data/topic-rules-file.js";
import { launchChromium } from "./chromium.js";

export interface OpenConsole {
  readonly cluster: TestCluster;
  readonly consoleUrl: string;
  readonly browser: Browser;
  /** Still empty. */
  readonly page: Page;
  /** Errors of the page, and what it wrote to its console as one. */
  readonly problems: string[];
  readonly close: () => Promise<void>;
}

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** @param environment more for the console itself */
export async function openConsole(
  options: StartClusterOptions,
  environment: Readonly<Record<string, string>> = {},
): Promise<OpenConsole> {
  const port = await freePort();
  const consoleUrl = `http://127.0.0.1:${port}`;
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const directory = await mkdtemp(join(tmpdir(), "petrel-console-"));
    closers.push(() => rm(directory, { recursive: true, force: true }));
    // As the local run does it.
    const topicRules = await writeTopicRules(directory);
    const cluster = await startCluster({
      ...options,
      environment: { ALLOWED_ORIGINS: consoleUrl, TOPICS_FILE: topicRules, ...options.environment },
    });
    closers.push(cluster.stop);
    const keyFile = join(directory, "api-key");
    await writeFile(keyFile, cluster.apiKey, { mode: 0o600 });
    const child = spawn(process.execPath, [serviceFile("services/console/dist/main.js")], {
      cwd: root,
      env: {
        PATH: process.env["PATH"],
        PORT: String(port),
        AUTH_URL: cluster.auth.url,
        COLLECT_URL: cluster.collect.url,
        NODE_URLS: cluster.nodeUrls.join(","),
        API_KEY_FILE: keyFile,
        ...environment,
      },
      stdio: "ignore",
    });
    closers.push(async () => {
      const exited = child.exitCode === null ? once(child, "exit") : undefined;
      child.kill();
      await exited;
    });
    await waitFor(async () => (await fetch(`${consoleUrl}/health/ready`)).ok, {
      what: "the console",
      deadlineMs: 60_000,
    });
    const browser = await launchChromium();
    closers.push(() => browser.close());
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (line) => {
      if (line.type() === "error") problems.push(line.text());
    });
    return { cluster, consoleUrl, browser, page, problems, close };
  } catch (error) {
    await close();
    throw error;
  }
}
