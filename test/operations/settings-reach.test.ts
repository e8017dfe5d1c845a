// Compares what the services read with what Compose, k8s/ and the chart can set.
// Guarantees: every variable of every service can be set in each of the three, or stands here with why it cannot; a secret
// or file never has to be written into a manifest; .env.example has what docker-compose.yml takes, no more and no less.
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { chartServices, fixedVariables, valuesSchema, variables } from "../support/helm/values-schema.js";
import type { Workload } from "../support/kubernetes/kubernetes-objects.js";
import { createManifestCheck } from "../support/kubernetes/kubernetes-schemas.js";
import { findRenderer, renderDirectory } from "../support/kubernetes/render-overlay.js";
import { isToBeRendered } from "../support/kubernetes/rendered-directory.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const composeText = read("docker-compose.yml");

interface Container {
  readonly environment: Readonly<Record<string, string>>;
  readonly env_file?: readonly { readonly path: string; readonly required: boolean }[];
  readonly volumes?: readonly string[];
}
const compose = parse(composeText, { merge: true }) as {
  readonly services: Readonly<Record<string, Container>>;
};

describe("Compose", () => {
  /** What stands there as it is: what the services share, and files that make-secrets makes. */
  const fixed = [
    ...fixedVariables,
    "REDIS_PASSWORD_FILE",
    "PARTITIONS",
    "AUTH_URL",
    "DRAIN_WINDOW_MS",
    "TRUSTED_PROXIES",
  ];

  test.each(Object.keys(chartServices))("%s: every variable can be set", (service) => {
    const container = compose.services[service === "push-node" ? "push-node-1" : service];
    const files = container?.volumes?.find((volume) => volume.endsWith(":/run/files:ro"));
    expect(files).toBe(`\${PETREL_FILES:-./deploy/docker/files}/${service}:/run/files:ro`);
    expect(existsSync(join(root, "deploy/docker/files", service))).toBe(true);
    expect(container?.env_file).toEqual([
      { path: "${PETREL_FILES:-./deploy/docker/files}/settings.env", required: false },
    ]);
    for (const { env } of Object.values(chartServices[service] ?? {})) {
      const written = container?.environment[env];
      // What is not written comes from settings.env; what is written takes .env's value, empty by default or not.
      const isOpen = written === undefined || new RegExp(`^\\$\\{${env}:-`).test(written);
      expect(isOpen, env).toBe(!fixed.includes(env) || written === undefined);
    }
  });

  test("a variable in .env reaches every service that reads it", () => {
    const readers = Object.entries(chartServices).map(([service, schema]) => {
      const { environment } = compose.services[service === "push-node" ? "push-node-1" : service] ?? {};
      return { service, written: environment ?? {}, known: Object.values(schema).map(({ env }) => env) };
    });
    const fromEnv = (written: Readonly<Record<string, string>>): string[] =>
      Object.keys(written).filter((env) => written[env]?.startsWith(`\${${env}:-`));
    const all = new Set(readers.flatMap(({ written }) => fromEnv(written)));
    const missing = readers.flatMap(({ service, written, known }) =>
      known.filter((env) => all.has(env) && written[env] === undefined).map((env) => `${service}: ${env}`),
    );
    expect(missing).toEqual([]);
  });

  test(".env.example has what docker-compose.yml reads, with its defaults", () => {
    const taken = new Map(
      [...composeText.matchAll(/\$\{(\w+):-([^}]*)\}/g)].map(([, name = "", value]) => [name, value]),
    );
    const listed = new Map(
      [...read(".env.example").matchAll(/^#(\w+)=(.*)$/gm)].map(([, name = "", value]) => [name, value]),
    );
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(taken));
    expect(composeText.match(/\$\{\w+(?!\w|:-)/g) ?? []).toEqual([]);
  });

  test(".env names secrets as files, or they are Compose's own", () => {
    // URLs may hold a password: they stay out of docker-compose.yml, in .env, which is not committed.
    expect(read(".gitignore").split("\n")).toContain(".env");
    expect(read("deploy/docker/files/.gitignore").split("\n").slice(1)).toEqual([
      "*",
      "!.gitignore",
      "!*/",
      "!*/.gitkeep",
      "",
    ]);
  });
});

describe.runIf(isToBeRendered())("k8s/", () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "petrel-settings-")));
  const from = (path: string): string => relative(directory, join(realpathSync(root), "k8s", path));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test("every variable can be set: in a service's ConfigMap, as a file of a Secret, or from one by a component", () => {
    const components = readdirSync(join(root, "k8s/channels")).map((name) => from(`channels/${name}`));
    const settings = Object.entries(chartServices).map(([service, schema]) => {
      const free = Object.values(schema).filter(({ env }) => !fixedVariables.includes(env));
      const literals = free.map(({ env }) => `${env}=${env.endsWith("_FILE") ? `/run/files/${env}` : "x"}`);
      return { name: `petrel-${service}`, behavior: "merge", literals };
    });
    const kustomization = {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      resources: [from("base")],
      components: [...components, from("archive"), from("files")],
      configMapGenerator: settings,
    };
    writeFileSync(join(directory, "kustomization.yaml"), JSON.stringify(kustomization));
    const objects = renderDirectory(findRenderer() ?? [], directory);
    expect(objects.flatMap(createManifestCheck())).toEqual([]);
    const fromSecrets: string[] = [];
    for (const object of objects.filter(({ kind }) => kind === "Deployment") as Workload[]) {
      const { name } = object.metadata;
      const [container] = object.spec.template.spec.containers;
      const [common, own] = container?.envFrom ?? [];
      expect([common, own].map((one) => one?.configMapRef.name.replace(/-[a-z0-9]{10}$/, ""))).toEqual([
        "petrel-common",
        `petrel-${name}`,
      ]);
      expect(container?.volumeMounts, name).toContainEqual({
        name: "files",
        mountPath: "/run/files",
        readOnly: true,
      });
      const volume = object.spec.template.spec.volumes?.find((one) => one.name === "files");
      expect(volume?.secret, name).toMatchObject({ secretName: `petrel-files-${name}`, optional: true });
      for (const { name: variable, valueFrom } of container?.env ?? [])
        if (valueFrom?.secretKeyRef !== undefined) fromSecrets.push(variable);
    }
    // What is secret and no file.
    const secret = [
      "APNS_KEY_ID",
      "APNS_TEAM_ID",
      "FALLBACK_WEBHOOK_URL",
      "MESSAGE_ARCHIVE_URL",
      "VAPID_SUBJECT",
    ];
    expect(fromSecrets).toEqual(expect.arrayContaining(secret));
  });
});

test("the chart: every variable, as text, from a Secret, or as a file", () => {
  const { settings, settingsFromSecrets, files } = valuesSchema().properties ?? {};
  for (const name of variables().keys()) {
    if (fixedVariables.includes(name)) continue;
    const places = [settings, settingsFromSecrets, files].map((one) => name in (one?.properties ?? {}));
    expect(places, name).toEqual(name.endsWith("_FILE") ? [false, false, true] : [true, true, false]);
  }
});
