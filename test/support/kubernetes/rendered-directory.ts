// Tests only: what one directory of k8s/ renders, and what belongs together in it.
// Guarantees: a container's environment is looked up as the kubelet does; a missing ConfigMap is an error.
import { matches, type Container, type Selector, type Workload } from "./kubernetes-objects.js";
import { findRenderer, renderDirectory, type Manifest } from "./render-overlay.js";
import { isImageName } from "../containers/service-settings.js";

/** Under k8s/. Overlays say what the base does not; the base must be right by itself. */
export const directories = [
  "base",
  "overlays/dev",
  "overlays/production",
  "overlays/traefik-ingress",
  "overlays/without-crds",
  "overlays/nginx-ingress",
  "overlays/everything",
] as const;

/** Those with a way in. */
export const withWayIn: readonly string[] = directories.slice(2);

/** Whether tests of k8s/ run: if they can, or must. Says so if they cannot. */
export function isToBeRendered(): boolean {
  if (findRenderer() !== undefined || process.env["PETREL_REQUIRE_KUSTOMIZE"] === "1") return true;
  process.stderr.write("\n*** No kubectl with kustomize 5, and no kustomize: k8s/ is not checked. ***\n\n");
  return false;
}

/** @param directory under k8s/; renders nothing if the tests are skipped */
export function readRendered(directory: string) {
  return readObjects(
    isToBeRendered() ? renderDirectory(findRenderer() ?? ["kubectl", "kustomize"], `k8s/${directory}`) : [],
  );
}

/** What belongs together in rendered objects, whoever has rendered them. */
export function readObjects(objects: readonly Manifest[]) {
  const of = <T extends Manifest>(...kinds: string[]): T[] =>
    objects.filter(({ kind }) => kinds.includes(kind)) as T[];
  const workloads = of<Workload>("Deployment", "StatefulSet");
  const ours = workloads.filter(({ metadata }) => isImageName(metadata.name));
  const containersOf = ({ spec }: Workload): Container[] => [
    ...(spec.template.spec.initContainers ?? []),
    ...spec.template.spec.containers,
  ];
  const matching = (selector: Selector): Workload[] =>
    workloads.filter(({ spec }) => matches(selector, spec.template.metadata.labels));
  const containerPorts = (all: readonly Workload[]): (string | number)[] =>
    all
      .flatMap(containersOf)
      .flatMap(({ ports = [] }) => ports.flatMap((one) => [one.name, one.containerPort]));

  /** A container's environment; a value from outside is "". */
  function environmentOf(container: Container): Record<string, string> {
    const maps = new Map(
      of<Manifest & { readonly data: Record<string, string> }>("ConfigMap").map((one) => [
        one.metadata.name,
        one,
      ]),
    );
    const environment: Record<string, string> = {};
    for (const { configMapRef } of container.envFrom ?? []) {
      const map = maps.get(configMapRef.name);
      if (map === undefined) throw new Error(`there is no ConfigMap ${configMapRef.name}`);
      Object.assign(environment, map.data);
    }
    for (const { name, value } of container.env ?? []) environment[name] = value ?? "";
    return environment;
  }

  return { objects, of, workloads, ours, containersOf, matching, containerPorts, environmentOf };
}
