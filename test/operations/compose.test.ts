// Checks docker-compose.yml. No engine is needed.
// Guarantees: it is valid by its specification's schema, and hardened; every service is watched without a shell, and is
// configured with what it reads.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readTopicRules } from "@petrel/shared/kernel/topics/read-topics-file";
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { readCompose, type ComposeService } from "../support/containers/read-compose.js";
import {
  environmentOf,
  inheritedInstructions,
  readDockerfile,
} from "../support/containers/read-dockerfile.js";
import {
  imageNames,
  isImageName,
  problemsOf,
  settingsOf,
  stopDeadlineMs,
  stopDeadlineSources,
  type ImageName,
} from "../support/containers/service-settings.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

const stages = readDockerfile(read("deploy/docker/Dockerfile"));
const composeText = read("docker-compose.yml");
const compose = readCompose(composeText);
const services = Object.entries(compose.services);
const ours = services.filter(([, { build }]) => build !== undefined);
const imageOf = ({ build }: ComposeService): ImageName => {
  if (build === undefined || !isImageName(build.target)) throw new Error(`no target ${build?.target}`);
  return build.target;
};
const isValid = new Ajv2020({ strict: false, validateFormats: false }).compile(
  JSON.parse(read("test/support/kubernetes/schemas/compose-spec.json")) as object,
);

test("is a valid Compose file", () => {
  isValid(parse(composeText, { merge: true }));
  expect(isValid.errors).toBeNull();
  expect(isValid({ services: { a: { imagge: "b" } } })).toBe(false);
});

test("has every image but the simulators' by default, and two push nodes", () => {
  const targets = ours.map(([, service]) => imageOf(service)).sort();
  expect(targets).toEqual([...imageNames, "push-node"].sort());
  const behind = services.flatMap(([name, { profiles }]) =>
    profiles === undefined ? [] : [[name, ...profiles]],
  );
  expect(behind).toEqual([
    ["mongodb", "archive"],
    ["apns-simulator", "simulators"],
    ["backup", "backup"],
    ["redis-exporter", "monitoring"],
    ["alertmanager", "monitoring"],
  ]);
});

test.each(services)("%s: hardened, bounded, with a fixed version", (_name, service) => {
  expect(service.read_only).toBe(true);
  expect(service.cap_drop).toEqual(["ALL"]);
  expect(service.security_opt).toEqual(["no-new-privileges:true"]);
  expect(service.privileged).toBeUndefined();
  expect(service.restart).toBe("unless-stopped");
  expect(service.image).toMatch(/^[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?$/);
  expect(service.deploy.resources.limits.memory).toMatch(/^\d+[MG]$/);
  expect(Number(service.deploy.resources.limits.cpus)).toBeGreaterThan(0);
});

test.each(services)("%s: has a health check without a shell", (_name, { build, healthcheck }) => {
  // Our images bring their own.
  if (build !== undefined) expect(healthcheck).toBeUndefined();
  else expect(healthcheck?.test[0]).toBe("CMD");
  expect(healthcheck?.test ?? []).not.toContain("sh");
});

test("starts each service when those it needs are healthy", () => {
  for (const [name, { depends_on: dependsOn = {} }] of services) {
    for (const [other, { condition }] of Object.entries(dependsOn)) {
      expect(compose.services, name).toHaveProperty([other]);
      expect(condition, `${name} on ${other}`).toBe("service_healthy");
    }
  }
  for (const [name, service] of ours) {
    if (["console", "apns-simulator"].includes(name)) continue;
    expect(service.depends_on, name).toHaveProperty("redis");
  }
});

test.each(ours)("%s: gets the variables it reads, and stops within its time", (_name, service) => {
  const image = imageOf(service);
  const environment = service.environment ?? {};
  expect(problemsOf(image, environment)).toEqual([]);
  const mounted = (service.secrets ?? []).map((secret) => `/run/secrets/${secret}`);
  const files = (service.volumes ?? []).map((volume) => volume.split(":")[1]);
  for (const value of Object.values(environment)) {
    if (value.startsWith("/run/secrets/")) expect(mounted).toContain(value);
    if (value.startsWith("/etc/petrel/")) expect(files).toContain(value);
  }
  // Secrets come as files: no environment variable looks like one.
  for (const name of Object.keys(environment)) expect(name).not.toMatch(/PASSWORD(?!_FILE)|SECRET$|TOKEN$/);
  expect(Number.parseInt(service.stop_grace_period, 10) * 1000).toBeGreaterThanOrEqual(
    stopDeadlineMs(image, environment),
  );
});

test("the included topic rules are valid", () => {
  for (const file of ["deploy/docker/topics.json", "k8s/base/topics.json"])
    expect(readTopicRules(read(file)), file).toEqual([]);
  for (const name of ["collect", "push-node-1", "push-node-2"])
    expect(compose.services[name]?.environment, name).toHaveProperty("TOPICS_FILE");
});

test("stop times match the programs'", () => {
  for (const [file, text] of Object.values(stopDeadlineSources)) expect(read(file), file).toContain(text);
});

test("simulators.env names what dispatch reads, and finds the simulator", () => {
  const variables = Object.fromEntries(
    [...read("deploy/docker/simulators.env").matchAll(/^(\w+)=(.*)$/gm)].map(([, name = "", value = ""]) => [
      name,
      value,
    ]),
  );
  const { APNS_SIMULATOR_URL: url = "", ...forDispatch } = variables;
  expect(problemsOf("dispatch", forDispatch)).toEqual([]);
  expect(problemsOf("console", { APNS_SIMULATOR_URL: url })).toEqual([]);
  for (const name of Object.keys(variables)) expect(composeText).toContain(`${name}: \${${name}:-}`);
  for (const name of ["APNS_KEY_FILE", "APNS_CA_FILE"]) {
    expect(compose.services["dispatch"]?.secrets).toContain(forDispatch[name]?.replace("/run/secrets/", ""));
  }
});

test("only the proxy is public; the rest is for this machine, or for nobody", () => {
  for (const [name, { ports = [], networks }] of services) {
    const open = ports.filter((port) => !port.startsWith("127.0.0.1:"));
    expect(open, name).toHaveLength(name === "proxy" ? 1 : 0);
    if (["auth", "collect", "push-node-1", "push-node-2"].includes(name)) {
      expect(networks, name).toEqual(["backend", "data"]);
    }
  }
  expect(compose.networks["backend"]?.internal).toBe(true);
  expect(compose.networks["data"]?.internal).toBe(true);
  const subnet = compose.networks["backend"]?.ipam?.config[0]?.subnet;
  // Limits are per address: without this all clients would share the proxy's.
  for (const [name, { environment = {}, ...service }] of ours) {
    const isAsked = Object.values(settingsOf[imageOf(service)]).some(({ env }) => env === "TRUSTED_PROXIES");
    expect(environment["TRUSTED_PROXIES"], name).toBe(isAsked ? subnet : undefined);
  }
});

test("Redis requires a password and shares no network with public services", () => {
  const { redis } = compose.services;
  expect(redis?.networks).toEqual(["data"]);
  const onData = services.filter(([, { networks }]) => Object.values(networks).includes("data"));
  for (const [name, { ports = [] }] of onData) expect(ports, name).toEqual([]);
  expect(onData.map(([name]) => name).sort()).toEqual(
    "auth backup collect dispatch mongodb push-node-1 push-node-2 redis redis-exporter".split(" "),
  );
  const operators = services.filter(([, { secrets = [] }]) => secrets.includes("redis-operator-password"));
  expect(operators.map(([name]) => name)).toEqual(["redis", "backup"]);
  expect(composeText).toMatch(/--aclfile\n\s+- \/run\/secrets\/redis-users\n/);
  for (const [name, { environment = {}, secrets = [] }] of ours) {
    if (environment["REDIS_URL"] === undefined) continue;
    expect(environment["REDIS_URL"], name).toMatch(/^redis:\/\/petrel@/);
    expect(environment["REDIS_PASSWORD_FILE"], name).toBe("/run/secrets/redis-password");
    expect(secrets, name).toContain("redis-password");
  }
});

test("the proxy lets nobody erase a person or close a user's connections from outside", () => {
  const nginx = read("deploy/docker/nginx.conf");
  const [, outside = "", operators = ""] = nginx.split(/listen 844[34] ssl;/);
  const rule = /location ~ (\S+) \{\s*return 404; \}/.exec(outside)?.[1] ?? "(?!)";
  for (const path of ["/v1/users/alice", "/v1/users/..", "/v1/users/a@b/disconnect"]) {
    expect(path).toMatch(new RegExp(rule));
  }
  for (const path of ["/v1/users/alice/messages", "/v1/users/disconnect/presence", "/v1/users/a/devices/d"]) {
    expect(path).not.toMatch(new RegExp(rule));
  }
  expect(operators).toContain(`location ~ ${rule} {\n      proxy_pass http://collect;`);
});

test("the proxy routes everything that producers, users and operators call", () => {
  const nginx = read("deploy/docker/nginx.conf");
  const [, outside = "", operators = ""] = nginx.split(/listen 844[34] ssl;/);
  const waysOf = (text: string) =>
    [...text.matchAll(/location (=)? ?(\/\S+) \{[^}]*proxy_pass http:\/\/(\w+);/g)].map(
      ([, exact, path = "", service = ""]) => ({ isExact: exact !== undefined, path, service }),
    );
  const serviceFor = (text: string, asked: string): string | undefined =>
    waysOf(text).find(({ isExact, path }) => (isExact ? asked === path : asked.startsWith(path)))?.service;
  for (const [path, service] of [
    ["/v1/messages/batch", "collect"],
    ["/v1/events", "collect"],
    ["/v1/topics/news", "collect"],
    ["/v1/presence", "collect"],
    ["/v1/users/ada/messages", "collect"],
    ["/v1/tokens/refresh", "auth"],
    ["/v1/devices", "auth"],
    ["/v1/web-push-key", "auth"],
  ] as const)
    expect(serviceFor(outside, path), path).toBe(service);
  for (const [path, service] of [
    ["/v1/keys/k", "auth"],
    ["/v1/audit", "auth"],
    ["/v1/dead-letters/d", "dispatch"],
    ["/v1/invalidations", "dispatch"],
    ["/v1/webhooks/w/rotate", "dispatch"],
    ["/v1/archive/redrive", "dispatch"],
    ["/v1/diagnosis", "dispatch"],
    ["/v1/nodes/n.1/drain", "dispatch"],
    ["/v1/channels/apns/pause", "dispatch"],
  ] as const) {
    expect(serviceFor(operators, path), path).toBe(service);
    expect(serviceFor(outside, path), path).toBeUndefined();
  }
});

test("every mounted file and folder exists, or is made by make-secrets", () => {
  for (const [name, { volumes = [] }] of services) {
    for (const [source = ""] of volumes.map((volume) => volume.split(":"))) {
      if (source.startsWith("./")) expect(existsSync(join(root, source)), `${name}: ${source}`).toBe(true);
    }
  }
  const used = new Set(services.flatMap(([, { secrets = [] }]) => secrets));
  expect([...used].sort()).toEqual(Object.keys(compose.secrets).sort());
});

test("the proxy keeps a socket for longer than two of its node's pings, and knows both nodes", () => {
  const nginx = read("deploy/docker/nginx.conf");
  const connect = /location = \/v1\/connect \{([^}]*)\}/.exec(nginx)?.[1] ?? "";
  expect(Number(/proxy_read_timeout (\d+)s;/.exec(connect)?.[1])).toBeGreaterThan(2 * 25);
  for (const header of ["Upgrade $http_upgrade", 'Connection "upgrade"', "X-Forwarded-For $remote_addr"]) {
    expect(connect).toContain(`proxy_set_header ${header};`);
  }
  const upstreams = [...nginx.matchAll(/^\s+server ([\w-]+):(\d+) resolve/gm)];
  expect(upstreams).toHaveLength(5);
  for (const [, host = "", port] of upstreams) {
    const service = compose.services[host];
    expect(service, host).toBeDefined();
    const target = service?.build?.target ?? "";
    expect(environmentOf(inheritedInstructions(stages, target))["PORT"], host).toBe(port);
  }
});
