// Tests only: which requests the entries of k8s/ let through, and to which service.
// Guarantees: paths match as the Gateway API says (https://gateway-api.sigs.k8s.io/reference/spec/#httppathmatch), as
// ingress-nginx does it (https://kubernetes.github.io/ingress-nginx/user-guide/ingress-path-matching/), and as Traefik
// does (`loadRouter` in pkg/provider/kubernetes/ingress/kubernetes.go): expressions are not anchored.
import type { Ingress, Route } from "./kubernetes-objects.js";

export interface WaysIn {
  readonly routes: readonly Route[];
  readonly ingresses: readonly Ingress[];
}

/** @returns the names of the services that may get the request; empty if no entry lets it in */
export function servicesFor(
  { routes, ingresses }: WaysIn,
  { host, method, path }: { readonly host: string; readonly method: string; readonly path: string },
): string[] {
  const ofRoutes = routes
    .filter(({ spec }) => spec.hostnames.includes(host))
    .flatMap(({ spec }) => spec.rules)
    .filter(({ matches }) =>
      matches.some(
        (one) =>
          (one.method ?? method) === method &&
          (one.path.type === "RegularExpression"
            ? new RegExp(`^(?:${one.path.value})$`).test(path)
            : fits(path, one.path.value, one.path.type === "PathPrefix")),
      ),
    )
    .flatMap(({ backendRefs }) => backendRefs.map(({ name }) => name));
  const ofHost = ingresses.flatMap(({ metadata, spec }) =>
    spec.rules.filter((rule) => rule.host === host).map((rule) => ({ metadata, spec, rule })),
  );
  // One Ingress that asks for it decides for all paths of its host.
  const areExpressions = ofHost.some(
    ({ metadata }) => metadata.annotations?.["nginx.ingress.kubernetes.io/use-regex"] === "true",
  );
  const ofIngresses = ofHost
    .flatMap(({ metadata, spec, rule }) =>
      rule.http.paths.map((one) => ({
        ...one,
        isTraefiks: spec.ingressClassName === "traefik",
        matcher: metadata.annotations?.["traefik.ingress.kubernetes.io/router.pathmatcher"],
      })),
    )
    .filter((one) =>
      one.isTraefiks
        ? fitsTraefik(path, one)
        : areExpressions
          ? new RegExp(`^${one.path}`, "i").test(path)
          : fits(path, one.path, one.pathType === "Prefix"),
    )
    .map(({ backend }) => backend.service.name);
  return [...new Set([...ofRoutes, ...ofIngresses])];
}

/** A prefix consists of whole segments. */
function fits(path: string, value: string, isPrefix: boolean): boolean {
  return path === value || (isPrefix && path.startsWith(`${value.replace(/\/$/, "")}/`));
}

/** Its prefixes are of characters, not of segments. */
function fitsTraefik(
  path: string,
  one: { readonly path: string; readonly pathType: string; readonly matcher: string | undefined },
): boolean {
  if (one.pathType === "Exact") return path === one.path;
  return one.pathType === "ImplementationSpecific" && one.matcher === "PathRegexp"
    ? new RegExp(one.path).test(path)
    : path.startsWith(one.path);
}
