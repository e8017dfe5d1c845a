// Reads the workflows that publish, and what keeps their pins up to date. They cannot be run here.
// Guarantees: every action is named by its commit; images come for two platforms with SBOM and provenance, signed by
// digest; no tag is ever moved or overwritten; every image of the Dockerfile is published; no step pastes text from
// outside into a shell.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { readDockerfile } from "../support/containers/read-dockerfile.js";
import { imageNames } from "../support/containers/service-settings.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly id?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}
interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly "timeout-minutes"?: number;
  readonly strategy?: { readonly matrix: { readonly image: readonly string[] } };
  readonly steps: readonly Step[];
}
interface Workflow {
  readonly on: { readonly push?: { readonly tags?: readonly string[] } };
  readonly permissions?: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const files = readdirSync(join(root, ".github/workflows"));
const images = parse(read(".github/workflows/publish-images.yml")) as Workflow;
const steps = images.jobs["image"]?.steps ?? [];
const find = (text: string): Step => {
  const found = steps.find(({ uses = "", run = "" }) => uses.startsWith(text) || run.includes(text));
  if (found === undefined) throw new Error(`no step has ${text}`);
  return found;
};

test.each(files)("%s: actions by commit, few permissions, a timeout, no external text in a shell", (file) => {
  const text = read(`.github/workflows/${file}`);
  const { permissions, jobs } = parse(text) as Workflow;
  // None for the whole workflow but to read; each job says what it needs.
  for (const right of Object.values(permissions ?? { all: "write" })) expect(right).toBe("read");
  for (const [name, job] of Object.entries(jobs)) {
    expect(job["timeout-minutes"], name).toBeGreaterThan(0);
    for (const { run } of job.steps) expect(run ?? "", name).not.toContain("${{");
  }
  for (const [, used = "", comment = ""] of text.matchAll(/uses: (\S+)(.*)$/gm)) {
    expect(used).toMatch(/^[\w-]+\/[\w./-]+@[0-9a-f]{40}$/);
    expect(comment, used).toMatch(/^ # v\d+(\.\d+)*$/);
  }
});

test("every image of the Dockerfile is published, and only for releases", () => {
  const targets = readDockerfile(read("deploy/docker/Dockerfile"))
    .filter(({ base }) => base === "runtime")
    .map(({ name }) => name);
  expect(images.jobs["image"]?.strategy?.matrix.image).toEqual(targets);
  expect(targets).toEqual([...imageNames, "toolbox"]);
  expect(images.on).toEqual({ push: { tags: ["v[0-9]+.[0-9]+.[0-9]+"] } });
});

test("images have two platforms, SBOM and provenance, under one new tag", () => {
  const build = find("docker/build-push-action");
  expect(build.with).toMatchObject({
    file: "deploy/docker/Dockerfile",
    target: "${{ matrix.image }}",
    platforms: "linux/amd64,linux/arm64",
    sbom: true,
    provenance: "mode=max",
    tags: "${{ steps.release.outputs.image }}:${{ steps.release.outputs.version }}",
  });
  const order = ['test "v$version"', "imagetools inspect", "docker/build-push-action", "cosign sign"].map(
    (text) => steps.indexOf(find(text)),
  );
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(find("imagetools inspect").run).toContain("exit 1");
});

test("signs and attests what was pushed, by its digest", () => {
  const digest = "${{ steps.build.outputs.digest }}";
  expect(find("docker/build-push-action").id).toBe("build");
  expect(find("cosign sign").env).toEqual({ NAME: `\${{ steps.release.outputs.image }}@${digest}` });
  expect(find("actions/attest-build-provenance").with).toMatchObject({ "subject-digest": digest });
  expect(images.jobs["image"]?.permissions).toMatchObject({ "id-token": "write", attestations: "write" });
});

test("renovate pins images and actions by digest, and updates the Dockerfile's base", () => {
  const renovate = JSON.parse(read("renovate.json")) as {
    readonly extends: readonly string[];
    readonly customManagers: readonly { readonly matchStrings: readonly string[] }[];
  };
  expect(renovate.extends).toEqual(
    expect.arrayContaining(["docker:pinDigests", "helpers:pinGitHubActionDigests"]),
  );
  const installs = renovate.customManagers.flatMap(({ matchStrings }) =>
    matchStrings.flatMap((one) =>
      [...read(".ci/run").matchAll(new RegExp(one, "g"))].map(({ groups }) => groups?.["depName"]),
    ),
  );
  expect(installs).toEqual(["sigs.k8s.io/kustomize/kustomize/v5", "helm.sh/helm/v4"]);
});
