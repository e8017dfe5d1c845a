// The packages that others install, as `npm pack` makes them: packed, unpacked, and run where nothing else is.
// Guarantees: they contain everything that runs, types included, and no test; a new package is checked too.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launchChromium, runsInBrowser } from "../support/browser/chromium.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly bin?: Readonly<Record<string, string>>;
}

let place: string;
/** By name: the files in the package. */
const packed = new Map<
  string,
  { readonly manifest: Manifest; readonly files: readonly string[]; readonly tarball: string }
>();

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "petrel-packages-"));
  await mkdir(join(place, "node_modules/@petrel"), { recursive: true });
  await run(process.execPath, ["bundle-client.mjs"], { cwd: join(root, "clients/browser") });
  const directories = (await readdir(join(root, "clients"))).map((name) => `clients/${name}`);
  // `npm test` has built them already. All in one call: most of what npm costs is its start.
  const options = ["pack", "--ignore-scripts", "--json", "--pack-destination", place];
  const { stdout } = await run("npm", [...options, ...directories.flatMap((name) => ["-w", name])], {
    cwd: root,
  });
  const made = Object.values(
    JSON.parse(stdout) as Readonly<Record<string, { name: string; filename: string }>>,
  );
  for (const directory of directories) {
    const manifest = JSON.parse(await readFile(join(root, directory, "package.json"), "utf8")) as Manifest;
    const tarball = join(place, made.find(({ name }) => name === manifest.name)?.filename ?? "");
    const unpacked = join(place, "node_modules", manifest.name);
    await mkdir(unpacked);
    await run("tar", ["-xzf", tarball, "-C", unpacked, "--strip-components=1"]);
    const files = await readdir(unpacked, { recursive: true });
    packed.set(manifest.name, { manifest, files, tarball });
  }
  for (const { manifest } of packed.values()) {
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      if (packed.has(name)) continue;
      await symlink(join(root, "node_modules", name), join(place, "node_modules", name));
    }
  }
});
afterAll(() => rm(place, { recursive: true, force: true }));

test("each contains the files it names, what they import, and no test", async () => {
  expect([...packed.keys()].sort()).toEqual(["@petrel/cli", "@petrel/client", "@petrel/server"]);
  for (const [name, { manifest, files }] of packed) {
    const named = [
      ...Object.values(manifest.exports ?? {}).flatMap((targets) =>
        typeof targets === "string" ? [targets] : Object.values(targets),
      ),
      ...Object.values(manifest.bin ?? {}),
    ].map((path) => path.replace(/^\.\//, ""));
    expect(files, name).toEqual(expect.arrayContaining([...named, "LICENSE", "NOTICE", "README.md"]));
    expect(files.filter((file) => file.includes(".test.") || file.endsWith(".tsbuildinfo"))).toEqual([]);
    const modules = files.filter((file) => file.startsWith("dist/") && file.endsWith(".js"));
    expect(modules.length, name).toBeGreaterThan(5);
    for (const file of modules) {
      const source = await readFile(join(place, "node_modules", name, file), "utf8");
      for (const [, to = ""] of source.matchAll(/from "(\.[^"]+)"/g)) {
        expect(files, `${name}/${file}`).toContain(join(file, "..", to));
      }
      // For debugging: the source map, and the files it points at.
      const map = JSON.parse(await readFile(join(place, "node_modules", name, `${file}.map`), "utf8")) as {
        readonly sources: readonly string[];
      };
      for (const from of map.sources) expect(files, `${name}/${file}`).toContain(join(file, "..", from));
    }
  }
});

test("the client is imported by its name and creates a client", async () => {
  const script = `
    import { PetrelClient, clientErrorCodes } from "@petrel/client";
    const client = new PetrelClient({ url: "ws://127.0.0.1/v1/connect", getToken: () => "t", WebSocket: class {} });
    console.log(client.state, clientErrorCodes.closed);`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: place });
  expect(stdout).toBe("closed PETREL_CLIENT_CLOSED\n");
});

/** What an application in TypeScript writes. */
const consumer = `
import { connect, PetrelClient, type ClientState, type PetrelMessage } from "@petrel/client";
import { Petrel, PetrelError, type PetrelErrorCode } from "@petrel/server";

const maybe: string | undefined = Math.random() > 1 ? "x" : undefined;
const client: PetrelClient<{ text: string }> = connect({
  url: "/v1/connect",
  getToken: async () => "t",
  ack: "visible",
  position: undefined,
  timing: { ackDelayMs: undefined },
});
client.on("message", ({ data }: PetrelMessage<{ text: string }>) => data.text.length);
const state: ClientState = client.state;

const petrel = new Petrel({ collect: "http://a.test", key: "k.s", auth: maybe, timeoutMs: undefined });
const one: Promise<{ readonly id: string }> = petrel.send({
  to: { user: "a" }, data: 1, idempotencyKey: maybe, deliverAt: new Date(), notification: undefined,
});
const list: Promise<{ readonly results: readonly { readonly user: string }[] }> = petrel.send({
  to: { users: ["a", "b"] }, data: null,
});
const known: PetrelErrorCode = "PETREL_INBOX_FULL";
export async function all(): Promise<unknown> {
  for await (const event of petrel.events({ types: ["message.failed"], after: maybe })) {
    if (event.type !== "gap") return [event.user, event.data["reason"]];
  }
  return [state, await one, await list, known, PetrelError];
}
`;

describe("installed into an empty project", () => {
  let project: string;
  let cluster: TestCluster;
  let origin: string;
  let server: Server;
  /** What the page's server answers: its type, and the body. */
  let serve: (path: string) => Promise<readonly [string, string | Buffer]>;

  beforeAll(async () => {
    project = join(place, "project");
    await mkdir(project);
    await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", private: true }));
    const tarballs = ["@petrel/client", "@petrel/server"].map((name) => packed.get(name)?.tarball ?? "");
    // Nothing of a registry is needed: neither has a dependency.
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund", ...tarballs], { cwd: project });
    server = createServer(({ url = "" }, response) => {
      serve(url).then(
        ([type, body]) => response.writeHead(200, { "content-type": type }).end(body),
        () => response.writeHead(404).end(),
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    cluster = await startCluster({
      nodes: 1,
      together: true,
      environment: { ALLOWED_ORIGINS: origin },
    });
  });
  afterAll(async () => {
    await cluster?.stop();
    server?.close();
    server?.closeAllConnections();
  });

  test("they have no dependencies", async () => {
    const installed = await readdir(join(project, "node_modules"));
    expect(installed.filter((name) => !name.startsWith("."))).toEqual(["@petrel"]);
  });

  test("the types compile with the strictest settings, for Node and for bundlers", async () => {
    await writeFile(join(project, "consumer.ts"), consumer);
    for (const [module, moduleResolution] of [
      ["nodenext", "nodenext"],
      ["esnext", "bundler"],
    ] as const) {
      const settings = ["--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--noEmit"];
      // The compiler's own declarations are most of what there is to check.
      settings.push("--skipDefaultLibCheck");
      const target = ["--target", "es2023", "--lib", "es2023,dom", "--types", ""];
      const how = ["--module", module, "--moduleResolution", moduleResolution];
      const tsc = join(root, "node_modules/.bin/tsc");
      const { stdout } = await run(tsc, [...settings, ...target, ...how, "consumer.ts"], { cwd: project });
      expect(stdout).toBe("");
    }
  });

  test("the backend example sends", async () => {
    await copyFile(join(root, "examples/backend/send.mjs"), join(project, "send.mjs"));
    const env = { ...process.env, PETREL_COLLECT: cluster.collect.url, PETREL_KEY: cluster.apiKey };
    const { stdout } = await run(process.execPath, ["send.mjs", "alice", "bob"], { cwd: project, env });
    expect(stdout.trim().split("\n").toSorted()).toEqual([
      expect.stringMatching(/^alice p\d+_\S+ queued$/),
      expect.stringMatching(/^bob p\d+_\S+ queued$/),
    ]);
    for (const user of ["alice", "bob"]) {
      const headers = { authorization: `Bearer ${cluster.apiKey}` };
      const answer = await fetch(`${cluster.collect.url}/v1/users/${user}/messages`, { headers });
      const { items } = (await answer.json()) as { readonly items: readonly { readonly data: unknown }[] };
      expect(items.map(({ data }) => data)).toEqual([{ text: `hello, ${user}` }]);
    }
    const wrong = { ...env, PETREL_KEY: `${cluster.apiKey}x` };
    const refused: unknown = await run(process.execPath, ["send.mjs", "carol"], {
      cwd: project,
      env: wrong,
    }).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^carol PETREL_UNAUTHENTICATED refused \S+\n$/) as unknown,
    });
  });

  test.runIf(runsInBrowser())("the page example receives, module by module and in one file", async () => {
    const browser = await launchChromium();
    try {
      const sdk = join(project, "node_modules/@petrel/client/dist");
      const html = await readFile(join(root, "examples/web-page/index.html"), "utf8");
      const global = `<script src="/sdk/bundle/petrel-client.global.js"></script>`;
      for (const [user, page] of [
        ["carol", html],
        ["dora", html.replace("/sdk/client.js", "/sdk/bundle/petrel-client.js")],
        [
          "erin",
          html
            .replace(/import .*;/, "const { PetrelClient } = Petrel;")
            .replace("<script", `${global}<script`),
        ],
      ] as const) {
        const tab = await browser.newPage();
        let requests = 0;
        serve = async (path) => {
          if (path === "/") return ["text/html", page];
          if (path === "/nodes") return ["application/json", JSON.stringify(cluster.nodeUrls)];
          if (path === "/token") return ["text/plain", await cluster.tokenFor(user)];
          requests++;
          return ["text/javascript", await readFile(join(sdk, path.replace("/sdk/", "")))];
        };
        await tab.goto(`${origin}/`);
        await tab.waitForSelector("#state:has-text('online')");
        await cluster.post("/v1/messages", { to: { user }, data: { text: "packed" } });
        await tab.waitForSelector("#messages li:has-text('packed')");
        if (user === "carol") expect(requests).toBeGreaterThan(10);
        else expect(requests).toBe(1);
        await tab.close();
      }
    } finally {
      await browser.close();
    }
  });
});

test("the command runs from its package", async () => {
  const bin = packed.get("@petrel/cli")?.manifest.bin?.["petrel"] ?? "";
  const script = join(place, "node_modules/@petrel/cli", bin);
  const { stdout } = await run(process.execPath, [script, "--version"], { cwd: place });
  expect(stdout).toBe(`${packed.get("@petrel/cli")?.manifest.version}\n`);
});
