// The packages that others install, as `npm pack` makes them: packed, unpacked, and run where nothing else is.
// Guarantees: they contain everything that runs, types included, and no test; a new package is checked too.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly bin?: Readonly<Record<string, string>>;
}

let place: string;
/** By name: the files in the package. */
const packed = new Map<string, { readonly manifest: Manifest; readonly files: readonly string[] }>();

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "petrel-packages-"));
  await mkdir(join(place, "node_modules/@petrel"), { recursive: true });
  for (const name of await readdir(join(root, "clients"))) {
    const directory = join(root, "clients", name);
    // `npm test` has built them already.
    const options = ["pack", "--ignore-scripts", "--json", "--pack-destination", place];
    const { stdout } = await run("npm", options, { cwd: directory });
    const [made] = Object.values(JSON.parse(stdout) as Readonly<Record<string, { filename: string }>>);
    const manifest = JSON.parse(await readFile(join(directory, "package.json"), "utf8")) as Manifest;
    const unpacked = join(place, "node_modules", manifest.name);
    await mkdir(unpacked);
    await run("tar", ["-xzf", join(place, made?.filename ?? ""), "-C", unpacked, "--strip-components=1"]);
    const files = await readdir(unpacked, { recursive: true });
    packed.set(manifest.name, { manifest, files });
  }
  for (const { manifest } of packed.values()) {
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      if (packed.has(name)) continue;
      await symlink(join(root, "node_modules", name), join(place, "node_modules", name));
    }
  }
});
afterAll(() => rm(place, { recursive: true, force: true }));

test("each holds what it names, what that imports, and no test", async () => {
  expect([...packed.keys()].sort()).toEqual(["@petrel/cli", "@petrel/client"]);
  for (const [name, { manifest, files }] of packed) {
    const named = [
      ...Object.values(manifest.exports ?? {}).flatMap((targets) => Object.values(targets)),
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

test("the client is imported by its name, and makes a client", async () => {
  const script = `
    import { PetrelClient, clientErrorCodes } from "@petrel/client";
    const client = new PetrelClient({ url: "ws://127.0.0.1/v1/connect", getToken: () => "t", WebSocket: class {} });
    console.log(client.state, clientErrorCodes.closed);`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: place });
  expect(stdout).toBe("closed PETREL_CLIENT_CLOSED\n");
});

test("the command runs from its package", async () => {
  const bin = packed.get("@petrel/cli")?.manifest.bin?.["petrel"] ?? "";
  const script = join(place, "node_modules/@petrel/cli", bin);
  const { stdout } = await run(process.execPath, [script, "--version"], { cwd: place });
  expect(stdout).toBe(`${packed.get("@petrel/cli")?.manifest.version}\n`);
});
