// Checks the documentation: what a page links to, names or marks as runnable, and how it opens.
// Guarantees: every link and anchor leads somewhere, every named file exists, the named test runs every block marked as
// runnable, every page says whom it is for, the index lists every page, and nothing is installed that is not published.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const SKIPPED = new Set(["node_modules", "dist", ".git", ".data", ".cache", "schemas"]);

interface Page {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
  /** Without code blocks, which are code. */
  readonly prose: string;
}

function readPages(directory = ""): Page[] {
  return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : readPages(path);
    if (!entry.name.endsWith(".md")) return [];
    const text = readFileSync(join(root, path), "utf8");
    return [{ path, text, prose: text.replaceAll(/^ *```[\s\S]*?^ *```$/gm, "") }];
  });
}

const pages = readPages();
const docs = pages.filter(({ path }) => path.startsWith("docs/"));

/** As GitHub makes them: letters, digits, hyphens and underscores, spaces as hyphens. */
function anchorsOf(prose: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading = ""] of prose.matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(" ", "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

test("the reader finds the pages, and makes anchors like GitHub", () => {
  expect(docs.length).toBeGreaterThan(28);
  const prose =
    "## POST /v1/messages\n## What it promises, and: where?\n## The token's end\n## The token's end\n";
  expect([...anchorsOf(prose)]).toEqual([
    "post-v1messages",
    "what-it-promises-and-where",
    "the-tokens-end",
    "the-tokens-end-1",
  ]);
});

test("every link leads to a file that exists, and to a heading in it", () => {
  const broken: string[] = [];
  for (const { path, prose } of pages) {
    for (const [, target = ""] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const at = file === "" ? path : normalize(join(dirname(path), file));
      if (!existsSync(join(root, at))) broken.push(`${path}: ${target}`);
      else if (anchor !== undefined && at.endsWith(".md")) {
        const found = pages.find((page) => page.path === at);
        if (found === undefined || !anchorsOf(found.prose).has(anchor)) broken.push(`${path}: ${target}`);
      }
    }
  }
  expect(broken).toEqual([]);
});

test("every file of the repository that a page names exists", () => {
  const missing: string[] = [];
  let named = 0;
  const inRepository =
    /`((?:services|shared|clients|deploy|docs|test|bench|k8s|examples)\/[\w./-]*\.(?:ts|mjs|js|lua|md|ya?ml|json|py|sh|html|conf))`/g;
  for (const { path, prose } of pages) {
    for (const [, file = ""] of prose.matchAll(inRepository)) {
      named++;
      if (file.includes("/dist/")) continue;
      if (!existsSync(join(root, file)) && !existsSync(join(root, dirname(path), file)))
        missing.push(`${path}: ${file}`);
    }
  }
  expect(named).toBeGreaterThan(50);
  expect(missing).toEqual([]);
});

test("every block marked as runnable is run by the named test", () => {
  const wrong: string[] = [];
  let marked = 0;
  for (const { path, text } of pages) {
    for (const [whole, file = "", next = ""] of text.matchAll(/<!-- (?:runs|answers) in (\S+) -->\n(.*)/g)) {
      marked++;
      const source = existsSync(join(root, file)) ? readFileSync(join(root, file), "utf8") : "";
      const isRead = source.includes(path) || (path === "README.md" && source.includes(`readmeBlocks(`));
      if (!isRead || !/^```\w+$/.test(next)) wrong.push(`${path}: ${whole}`);
    }
  }
  expect(marked).toBeGreaterThan(25);
  expect(wrong).toEqual([]);
});

test("no page installs unpublished packages from npm", () => {
  const names = readdirSync(join(root, "clients")).flatMap((name) => {
    const manifest = JSON.parse(readFileSync(join(root, "clients", name, "package.json"), "utf8")) as {
      readonly name: string;
      readonly private?: boolean;
    };
    return manifest.private === true ? [manifest.name] : [];
  });
  expect(names).toContain("@petrel/server");
  const wrong = pages.flatMap(({ path, text }) =>
    text
      .split("\n")
      .filter((line) => /\bnpm (?:install|i|add) /.test(line) && names.some((name) => line.includes(name)))
      .map((line) => `${path}: ${line}`),
  );
  expect(wrong).toEqual([]);
});

test("every page opens with its readers", () => {
  const opening = /^# .+\n\nFor \w/;
  expect(docs.filter(({ text }) => !opening.test(text)).map(({ path }) => path)).toEqual([]);
});

test("the index lists every page, in the group of its folder", () => {
  const index = docs.find(({ path }) => path === "docs/README.md");
  const listed = [...(index?.prose.matchAll(/^\| \[([\w-]+\.md)\]\((\w+\/[\w-]+\.md)\) \|/gm) ?? [])].map(
    ([, , target]) => `docs/${target}`,
  );
  expect(listed.sort()).toEqual(
    docs
      .map(({ path }) => path)
      .filter((path) => path !== "docs/README.md")
      .sort(),
  );
  const groups = [...(index?.prose.matchAll(/^## (\w+)$/gm) ?? [])].map(([, group = ""]) =>
    group.toLowerCase(),
  );
  expect(groups).toEqual(["start", "send", "receive", "phones", "operate", "internals"]);
});

test("everything readers see is wrapped at 120", () => {
  const long: string[] = [];
  for (const { path, prose } of pages.filter(({ path }) => /^(docs|examples)\/|^[^/]+$/.test(path))) {
    for (const line of prose.split("\n")) {
      // Table rows cannot be wrapped, nor can links or pictures.
      if (line.length > 120 && !/^\s*(\||!\[|\[)/.test(line)) long.push(`${path}: ${line.slice(0, 60)}…`);
    }
  }
  expect(long).toEqual([]);
});

test("every row of a table ends on its line", () => {
  const broken = pages.flatMap(({ path, prose }) =>
    prose.split("\n").flatMap((line) => (/^\|.*[^|]$/.test(line) ? [`${path}: ${line.slice(0, 60)}…`] : [])),
  );
  expect(broken).toEqual([]);
});
