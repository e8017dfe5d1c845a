// Tests only: docker-compose.yml as the engine sees it without any variable set.
// Guarantees: merge keys are followed, `${NAME:-default}` becomes its default.
import { parse } from "yaml";

export interface ComposeService {
  readonly image: string;
  readonly build?: { readonly dockerfile: string; readonly target: string };
  readonly restart: string;
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly security_opt: readonly string[];
  readonly privileged?: boolean;
  readonly user?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly profiles?: readonly string[];
  readonly networks: readonly string[] | Readonly<Record<string, unknown>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly stop_grace_period: string;
  readonly deploy: {
    readonly resources: { readonly limits: { readonly memory: string; readonly cpus: string } };
  };
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly networks: Readonly<
    Record<
      string,
      { readonly internal?: boolean; readonly ipam?: { readonly config: readonly { subnet: string }[] } }
    >
  >;
}

export function readCompose(text: string): ComposeFile {
  return interpolate(parse(text, { merge: true })) as ComposeFile;
}

function interpolate(node: unknown): unknown {
  if (typeof node === "string") return node.replace(/\$\{\w+:-([^}]*)\}/g, "$1");
  if (Array.isArray(node)) return node.map(interpolate);
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, interpolate(value)]));
}
