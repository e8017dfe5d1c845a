// Starts each image's program from a directory assembled as in the Dockerfile, the way its container would.
// Guarantees: it has only that service's production dependencies. On a read-only root, as a foreign user without
// capabilities, with the settings of docker-compose.yml and a real Redis, it answers its health check and stops
// cleanly.
import { execFile, execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "@petrel/shared/testing/free-port";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { readCompose } from "../support/containers/read-compose.js";
import {
  environmentOf,
  inheritedInstructions,
  lastOf,
  readDockerfile,
} from "../support/containers/read-dockerfile.js";
import { roomyDirectory } from "../support/containers/roomy-directory.js";
import { imageNames, type ImageName } from "../support/containers/service-settings.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const stages = readDockerfile(read("deploy/docker/Dockerfile"));
const compose = readCompose(read("docker-compose.yml"));
const node = realpathSync(process.execPath);

/** Mounts, and another user, need root. */
const canMount =
  process.platform === "linux" &&
  process.getuid?.() === 0 &&
  spawnSync("unshare", ["--mount", "true"]).status === 0;
const isRequired = process.env["PETREL_REQUIRE_CONTAINERS"] === "1";
if (!canMount) {
  process.stderr.write("\n*** Not root on Linux: services are not started in a read-only root. ***\n\n");
}

/** More than all images take. */
const ROOM_BYTES = 1024 ** 3;
let directory: string;
let secrets: string;
const assembled = (image: ImageName): string => join(directory, image);

beforeAll(async () => {
  directory = await mkdtemp(join(roomyDirectory(ROOM_BYTES), "petrel-images-"));
  secrets = join(directory, "secrets");
  execFileSync(process.execPath, [join(root, "deploy/docker/make-secrets.mjs"), secrets]);
  await Promise.all(
    imageNames.map(async (image) => {
      const command = stages.find(({ name }) => name === `assemble-${image}`)?.instructions[0]?.words ?? [];
      const args = command.slice(1).map((word) => (word === "/assembled" ? assembled(image) : word));
      await promisify(execFile)(process.execPath, args, { cwd: root });
    }),
  );
});
// The command takes a fifth of the time.
afterAll(() => promisify(execFile)("rm", ["-rf", directory]));

describe("assembled services", () => {
  const { packages: locked } = JSON.parse(read("package-lock.json")) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly link?: boolean }>>;
  };

  test.each(imageNames)("%s: that service's production dependencies, and no others", (image) => {
    const packages = packagesUnder(assembled(image));
    expect(packages.length).toBeGreaterThan(20);
    for (const path of packages) {
      expect(locked[path], path).toBeDefined();
      expect(locked[path]?.dev, path).toBeUndefined();
    }
    const own = ["auth", "collect", "dispatch", "push-node", "console"].filter((name) => name === image);
    const services = join(assembled(image), "services");
    expect(existsSync(services) ? readdirSync(services) : []).toEqual(own);
    for (const name of ["vitest", "typescript", "playwright-core", "@types/node", "fast-check", "oxlint"]) {
      expect(packages).not.toContain(`node_modules/${name}`);
    }
    expect(packages.includes("node_modules/@petrel/client")).toBe(image === "console");
    expect(packages).toContain("node_modules/ioredis");
  });

  test.each(imageNames)("%s: no tests, no types, no embedded Redis, nothing secret", (image) => {
    const files = ownFilesUnder(assembled(image));
    expect(files.length).toBeGreaterThan(10);
    const needless = /\.(d\.ts|ts|map|tsbuildinfo)$|\.test\.|\/testing\/|\/embedded-redis\//;
    expect(files.filter((file) => needless.test(file))).toEqual([]);
    // The simulator's certificate is in the repository: it protects nothing.
    const keys = files.filter(
      (file) => /key|secret|\.env|\.p8|\.pem$/.test(file) && !/\.(js|lua)$/.test(file),
    );
    expect(keys.length).toBe(image === "apns-simulator" ? 3 : 0);
    expect(files.filter((file) => file.endsWith(".lua")).length).toBe(
      ownFilesUnder(join(root, "shared/src/redis")).filter((file) => file.endsWith(".lua")).length,
    );
  });

  test("the toolbox: the command, which runs on its own", () => {
    const target = join(directory, "toolbox");
    const assemble = spawnSync(process.execPath, ["deploy/docker/assemble-service.mjs", "toolbox", target], {
      cwd: root,
      encoding: "utf8",
    });
    expect(assemble.stderr).toBe("");
    expect(packagesUnder(target)).not.toContain("node_modules/typescript");
    const { status, stdout } = spawnSync(process.execPath, ["clients/cli/bin/petrel.js", "--help"], {
      cwd: target,
      encoding: "utf8",
      env: {},
    });
    expect(stdout).toContain("petrel send");
    expect(status).toBe(0);
  });

  test("refuses unknown services, and a directory that is not empty", () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, ["deploy/docker/assemble-service.mjs", ...args], {
        cwd: root,
        encoding: "utf8",
      });
    expect(run("nothing", join(directory, "nothing")).status).toBe(1);
    expect(run("auth", assembled("auth")).stderr).toContain("is not empty");
  });
});

describe.runIf(canMount || isRequired)("in a read-only root, as user 10001", { timeout: 180_000 }, () => {
  let redis: TestRedis;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(async () => {
    for (const child of running) child.kill("SIGKILL");
    await redis.stop();
  });

  /** The image's settings in docker-compose.yml, adapted to where things are on this machine. */
  async function environmentFor(image: ImageName): Promise<Record<string, string>> {
    const service = Object.values(compose.services).find(({ build }) => build?.target === image);
    const port = String(await freePort());
    return {
      ...environmentOf(inheritedInstructions(stages, image)),
      ...service?.environment,
      HOST: "127.0.0.1",
      PORT: port,
      METRICS_HOST: "127.0.0.1",
      METRICS_PORT: String(await freePort()),
      REDIS_URL: redis.url,
      APNS_SIMULATOR_TLS_PORT: String(await freePort()),
    };
  }

  /** The files and folders of the checkout that docker-compose.yml mounts into it. */
  function filesOf(image: ImageName): string {
    const service = Object.values(compose.services).find(({ build }) => build?.target === image);
    const mounts = (service?.volumes ?? []).map((volume) => volume.split(":"));
    return mounts
      .filter(([file = ""]) => file.startsWith("./"))
      .map(([file = "", place = ""]) => `${join(root, file)}:${place}`)
      .join(" ");
  }

  /** Runs the words of the image's instruction, in a root of its own or, like a container's health check, beside another. */
  async function inRoot(
    image: ImageName,
    words: readonly string[],
    environment: Record<string, string>,
    beside?: ChildProcess,
  ) {
    const mountPoint = beside === undefined ? await mkdtemp(join(directory, "root-")) : "";
    const args =
      beside === undefined
        ? [mountPoint, assembled(image), secrets, filesOf(image), node, ...words]
        : ["--beside", String(beside.pid), ...words];
    const child = spawn(join(root, "test/support/containers/run-in-read-only-root.sh"), args, {
      env: { PATH: process.env["PATH"], ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.push(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += String(data)));
    const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
    return { child, exited, output: () => output };
  }

  /** @param beside the running service; without one, nothing runs there */
  async function checkHealth(
    image: ImageName,
    environment: Record<string, string>,
    beside?: ChildProcess,
  ): Promise<string> {
    const words = lastOf(inheritedInstructions(stages, image), "HEALTHCHECK")?.words ?? [];
    const { exited, output } = await inRoot(image, words, environment, beside);
    return (await exited) === 0 ? "healthy" : output();
  }

  async function start(image: ImageName, environment: Record<string, string>) {
    const entry = lastOf(inheritedInstructions(stages, image), "ENTRYPOINT")?.words ?? [];
    const service = await inRoot(image, entry, environment);
    try {
      await waitFor(
        async () => {
          if (service.child.exitCode !== null) return true;
          // A health check is its own process, so none starts before the port is open.
          if (!(await isListening(Number(environment["PORT"])))) return false;
          const health = await checkHealth(image, environment, service.child);
          if (health !== "healthy") throw new Error(health);
          return true;
        },
        { what: `${image} to be healthy`, deadlineMs: 90_000, everyMs: 250 },
      );
    } catch (error) {
      throw new Error(service.output(), { cause: error });
    }
    expect(service.child.exitCode, service.output()).toBeNull();
    return service;
  }

  test("nothing there can be written, and a secret can be read", async () => {
    const script = `
      const code = (act) => { try { act(); return "done"; } catch (error) { return error.code; } };
      const { writeFileSync, readFileSync } = require("node:fs");
      const written = ["/x", "/tmp/x", "/app/x", "/run/secrets/x"].map((file) => code(() => writeFileSync(file, "")));
      const read = code(() => readFileSync("/run/secrets/key-encryption"));
      console.log(JSON.stringify({ uid: process.getuid(), cwd: process.cwd(), written, read }));`;
    const { exited, output } = await inRoot("auth", ["node", "-e", script], {});
    expect(await exited, output()).toBe(0);
    const erofs = Array.from({ length: 4 }, () => "EROFS");
    expect(JSON.parse(output())).toEqual({ uid: 10_001, cwd: "/app", written: erofs, read: "done" });
  });

  /** Files that are only read on request. */
  const pagesOf: Partial<Record<ImageName, readonly string[]>> = {
    auth: ["/docs/json", "/docs/static/index.html"],
    console: ["/", "/sdk/client.js"],
  };

  test.each(imageNames)("%s answers its health check, and stops cleanly", async (image) => {
    const environment = await environmentFor(image);
    const { child, exited, output } = await start(image, environment);
    for (const path of pagesOf[image] ?? []) {
      const { status } = await fetch(`http://127.0.0.1:${environment["PORT"]}${path}`);
      expect(status, path).toBe(200);
    }
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    expect(status).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(readFileSync(`/proc/${child.pid}/mountinfo`, "utf8")).toMatch(/ \/app ro[ ,]/);
    child.kill("SIGTERM");
    expect(await exited, output()).toBe(0);
    // Nothing runs there, as before its start.
    expect(await checkHealth(image, environment)).toMatch(/^not ready: /);
  });

  test("the health check works for a service with TLS, and one that requires a certificate", async () => {
    const tls = {
      ...(await environmentFor("auth")),
      TLS_CERT_FILE: "/run/secrets/proxy-certificate",
      TLS_KEY_FILE: "/run/secrets/proxy-key",
    };
    for (const environment of [tls, { ...tls, TLS_CLIENT_CA_FILE: "/run/secrets/proxy-certificate" }]) {
      const { child, exited, output } = await start("auth", environment);
      child.kill("SIGTERM");
      expect(await exited, output()).toBe(0);
    }
  });

  test("a running service that is not ready is not healthy", async () => {
    const environment = { ...(await environmentFor("collect")), READY_WITHOUT_REDIS_MS: "100" };
    const { child, exited } = await start("collect", environment);
    redis.signal("SIGSTOP");
    try {
      await waitFor(
        async () => (await checkHealth("collect", environment, child)).startsWith("not ready: "),
        {
          what: "collect without Redis",
          deadlineMs: 90_000,
          everyMs: 250,
        },
      );
    } finally {
      redis.signal("SIGCONT");
    }
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
  });
});

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** Every package in a node_modules of the directory, as the lock file names it. */
function packagesUnder(directory: string, prefix = ""): string[] {
  const modules = join(directory, prefix, "node_modules");
  const nested = ["services", "shared", "clients", "deploy"].flatMap((folder) =>
    prefix === "" && existsSync(join(directory, folder))
      ? workspacesUnder(join(directory, folder), folder)
      : [],
  );
  const found = existsSync(modules) ? namesIn(modules).map((name) => join(prefix, "node_modules", name)) : [];
  return [
    ...found,
    ...found.flatMap((path) => packagesUnder(directory, path)),
    ...nested.flatMap((path) => packagesUnder(directory, path)),
  ];
}

function workspacesUnder(folder: string, name: string): string[] {
  if (existsSync(join(folder, "package.json"))) return [name];
  return readdirSync(folder).map((one) => `${name}/${one}`);
}

function namesIn(modules: string): string[] {
  return readdirSync(modules).flatMap((name) =>
    name.startsWith("@") ? readdirSync(join(modules, name)).map((one) => `${name}/${one}`) : [name],
  );
}

/** Files of the directory that belong to no package: some thousand others are not looked at. */
function ownFilesUnder(directory: string, prefix = ""): string[] {
  return readdirSync(join(directory, prefix), { withFileTypes: true }).flatMap((entry) => {
    const path = `${prefix}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : ownFilesUnder(directory, path);
    return entry.isFile() ? [path] : [];
  });
}
