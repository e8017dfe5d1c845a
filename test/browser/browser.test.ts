// Flow: the console page and the README's browser code, in a real Chromium.
// Guarantees: a person signs in, sends, sees the message arrive and its state become delivered.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { readmeBlocks } from "../support/readme-blocks.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => existsSync(path));
const isRequired = process.env["PETREL_REQUIRE_BROWSER"] === "1";
if (executablePath === undefined) {
  process.stderr.write(
    "\n*** No Chromium on this machine: the browser test is left out (apt-get install chromium). ***\n\n",
  );
}

describe.runIf(executablePath !== undefined || isRequired)("in a browser", () => {
  let cluster: TestCluster;
  let console_: ChildProcess;
  let consoleUrl: string;
  let directory: string;
  let browser: Browser;
  let page: Page;
  const problems: string[] = [];

  beforeAll(async () => {
    const port = await freePort();
    consoleUrl = `http://127.0.0.1:${port}`;
    cluster = await startCluster({
      together: (name) => !name.startsWith("push-node"),
      environment: { ALLOWED_ORIGINS: consoleUrl },
    });
    directory = await mkdtemp(join(tmpdir(), "petrel-browser-"));
    const keyFile = join(directory, "api-key");
    await writeFile(keyFile, cluster.apiKey, { mode: 0o600 });
    console_ = spawn(process.execPath, ["services/console/dist/main.js"], {
      cwd: root,
      env: {
        PATH: process.env["PATH"],
        PORT: String(port),
        AUTH_URL: cluster.auth.url,
        COLLECT_URL: cluster.collect.url,
        NODE_URLS: cluster.nodeUrls.join(","),
        API_KEY_FILE: keyFile,
      },
      stdio: "ignore",
    });
    await waitFor(async () => (await fetch(`${consoleUrl}/health/ready`)).ok, {
      what: "the console",
      deadlineMs: 20_000,
    });
    browser = await chromium.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    page = await browser.newPage();
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (line) => {
      if (line.type() === "error") problems.push(line.text());
    });
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    console_?.kill();
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test("a person signs in, sends to herself, sees it arrive, and its state become delivered", async () => {
    await page.goto(consoleUrl);
    await page.fill("#user", "ada");
    await page.click("#sign-in");
    await page.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
    await page.fill("#to", "ada");
    await page.fill("#data", '{ "text": "from the page" }');
    await page.click("#send");
    const message = await page.waitForSelector("#messages li[data-seq='1']", { timeout: 15_000 });
    expect(await message.textContent()).toContain("from the page");
    await page.waitForSelector('#sent li[data-state="delivered"]', { timeout: 15_000 });

    // A message that a business system sends by HTTP shows on the page too.
    const { id } = (await cluster.post("/v1/messages", {
      to: { user: "ada" },
      data: { text: "from afar" },
    })) as {
      id: string;
    };
    const second = await page.waitForSelector(`#messages li[data-id='${id}']`, { timeout: 15_000 });
    expect(await second.textContent()).toContain("from afar");
    expect(problems).toEqual([]);
  }, 60_000);

  test("an address names a user and signs nobody in: that takes a click", async () => {
    const visitor = await browser.newPage();
    const changes: string[] = [];
    visitor.on("request", (request) => {
      if (request.method() !== "GET") changes.push(`${request.method()} ${request.url()}`);
    });
    visitor.on("websocket", (socket) => changes.push(socket.url()));
    await visitor.goto(`${consoleUrl}/?user=mallory`, { waitUntil: "networkidle" });
    await visitor.waitForFunction(`document.getElementById("user").value === "mallory"`);
    expect(await visitor.inputValue("#to")).toBe("mallory");
    expect(await visitor.getAttribute("#state", "data-state")).toBe("closed");
    expect(changes).toEqual([]);
    // The name is filled in and the button focused: one key suffices.
    await visitor.keyboard.press("Enter");
    await visitor.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
    expect(await visitor.textContent("#whereabouts")).toContain("mallory");
    await visitor.close();
  }, 60_000);

  test("a node that dies costs the page a reconnect, not a message", async () => {
    const text = (await page.textContent("#whereabouts")) ?? "";
    const holder = cluster.nodes.find(({ name }) => text.includes(name));
    (holder ?? cluster.nodes[0])?.signal("SIGKILL");
    const { id } = (await cluster.post("/v1/messages", {
      to: { user: "ada" },
      data: { text: "meanwhile" },
    })) as {
      id: string;
    };
    await page.waitForSelector(`#messages li[data-id='${id}']`, { timeout: 30_000 });
    problems.length = 0;
  }, 60_000);

  test("the README's browser code works when pasted", async () => {
    const [code = ""] = readmeBlocks("js", "test/browser/browser.test.ts");
    expect(code.trim().split("\n")).toHaveLength(6);
    const fresh = await browser.newPage();
    const lines: string[] = [];
    fresh.on("console", (line) => lines.push(line.text()));
    await fresh.goto(consoleUrl);
    await fresh.evaluate(`(async () => { ${code.replaceAll('"ada"', '"grace"')} })()`);
    await cluster.post("/v1/messages", { to: { user: "grace" }, data: { text: "pasted" } });
    await waitFor(() => lines.some((line) => line.startsWith("message 1 ")), {
      what: `the message in ${JSON.stringify(lines)}`,
    });
    await fresh.close();
  }, 60_000);
});
