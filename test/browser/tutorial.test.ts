// Flow: docs/start/tutorial.md, from the first step to the last, on a cluster that `npm start` runs, in a real
// Chromium.
// Guarantees: its commands work as pasted into one terminal, in order; what it promises to show shows.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serviceFile } from "@petrel/shared/testing/cluster/service-files";
import { freePort, freePortRange } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { readmeBlocks } from "../support/repository/readme-blocks.js";
import { launchChromium, runsInBrowser } from "../support/browser/chromium.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const MARK = "--- the block is done:";

/** One shell for all blocks, like a reader's. */
class Terminal {
  readonly #shell: ChildProcess;
  #printed = "";

  constructor(environment: NodeJS.ProcessEnv) {
    this.#shell = spawn("bash", ["--noprofile", "--norc"], { cwd: root, env: environment, detached: true });
    const keep = (chunk: Buffer): void => void (this.#printed += chunk.toString());
    this.#shell.stdout?.on("data", keep);
    this.#shell.stderr?.on("data", keep);
  }

  /** @returns what the block printed */
  async paste(block: string): Promise<string> {
    this.#printed = "";
    this.#shell.stdin?.write(`${block}\necho "\n${MARK} $?"\n`);
    await waitFor(() => new RegExp(`${MARK} \\d`).test(this.#printed), { what: block, deadlineMs: 60_000 });
    const [printed = "", status = ""] = this.#printed.split(`\n${MARK} `);
    expect(status.trim(), `${block}\n${printed}`).toBe("0");
    return printed.trim();
  }

  /** Includes everything that was started in it. */
  close(): void {
    if (this.#shell.pid !== undefined) process.kill(-this.#shell.pid, "SIGKILL");
  }
}

describe.runIf(runsInBrowser())("the tutorial", () => {
  let directory: string;
  let local: ChildProcess;
  let terminal: Terminal;
  let browser: Browser;
  let pagePort: number;
  let blocks: string[];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "petrel-tutorial-"));
    const portBase = await freePortRange(40);
    pagePort = await freePort();
    // Adapted to this cluster, instead of one on the default ports in the default place.
    blocks = readmeBlocks("sh", "test/browser/tutorial.test.ts", "docs/start/tutorial.md").map((block) =>
      block
        .replaceAll(".data/", `${directory}/`)
        .replaceAll("7100", String(portBase))
        .replaceAll("8080", String(pagePort)),
    );
    const environment = {
      ...process.env,
      PETREL_DATA_DIR: directory,
      PETREL_PORT_BASE: String(portBase),
      PETREL_DEV_JSON: join(directory, "dev.json"),
    };
    const [start = ""] = blocks;
    const [, origins] = /^npm ci && ALLOWED_ORIGINS=(\S+) npm start$/.exec(start.trim()) ?? [];
    expect(origins, start).toBeDefined();
    // The clone is already built, so this runs what `npm start` would.
    local = spawn(process.execPath, [serviceFile("deploy/local/dist/main.js")], {
      cwd: root,
      env: { ...environment, ALLOWED_ORIGINS: origins },
      stdio: "ignore",
    });
    await waitFor(() => existsSync(environment.PETREL_DEV_JSON), {
      what: "the cluster",
      deadlineMs: 200_000,
    });
    terminal = new Terminal(environment);
    browser = await launchChromium();
  }, 240_000);
  afterAll(async () => {
    await browser?.close();
    terminal?.close();
    if (local?.exitCode === null) {
      const exited = new Promise((resolve) => local.once("exit", resolve));
      local.kill("SIGINT");
      await exited;
    }
    await rm(directory, { recursive: true, force: true });
  });

  test("every step does what the page says", { timeout: 300_000 }, async () => {
    const [, away, listen, serve, live, kill, phone, ring, screen, state, ...rest] = blocks as [
      string,
      ...string[],
    ];
    expect(rest).toEqual([]);
    const paste = (block = ""): Promise<string> => terminal.paste(block);
    const accepted = { id: expect.stringMatching(/^p\d+_/) as string, duplicate: false };

    expect(JSON.parse(await paste(away))).toEqual(accepted);
    expect(JSON.parse((await paste(listen)).split("\n").at(-1) ?? "")).toMatchObject({
      data: { text: "welcome" },
    });

    await paste(serve);
    const url = `http://127.0.0.1:${pagePort}`;
    await waitFor(async () => (await fetch(url)).ok, { what: "the page's server", deadlineMs: 60_000 });
    const open = async (): Promise<Page> => {
      const page = await browser.newPage();
      await page.goto(url);
      await page.locator("#state", { hasText: "online" }).waitFor({ timeout: 60_000 });
      return page;
    };
    const seenOn = (page: Page, text: string): Promise<void> =>
      page.locator("#messages li", { hasText: text }).waitFor({ timeout: 60_000 });
    const page = await open();
    expect(JSON.parse(await paste(live))).toEqual(accepted);
    await seenOn(page, "hello, page");

    expect(JSON.parse(await paste(kill))).toEqual(accepted);
    await seenOn(page, "sent while nobody listened");
    expect(await page.locator("#messages li").allTextContents()).toEqual([
      expect.stringContaining("hello, page"),
      expect.stringContaining("sent while nobody listened"),
    ]);
    await page.locator("#state", { hasText: "online" }).waitFor({ timeout: 60_000 });

    await paste(phone);
    await page.close();
    await paste(ring);
    // The page tells a person to wait five seconds; a busy machine may take longer.
    const shown = await waitFor(
      async () => {
        const answer = JSON.parse(await paste((screen ?? "").replace("sleep 5; ", ""))) as {
          notifications: unknown[];
        };
        return answer.notifications.length > 0 && answer;
      },
      { what: "the phone to ring", deadlineMs: 60_000, everyMs: 500 },
    );
    expect(JSON.stringify(shown)).toContain("On its way.");
    await waitFor(async () => (JSON.parse(await paste(state)) as { state: string }).state === "pushed", {
      what: "pushed",
      deadlineMs: 60_000,
    });
    await seenOn(await open(), "4711");
    await waitFor(async () => (JSON.parse(await paste(state)) as { state: string }).state === "delivered", {
      what: "delivered",
      deadlineMs: 60_000,
    });
  });
});
