// The WeChat simulator: the existing apps and their templates.
// Guarantees: an invalid app is reported by its position, without its secret.

export interface SimulatedApp {
  readonly appid: string;
  readonly secret: string;
  readonly kind: "service-account" | "mini-program";
  /** Template id -> its fields, such as thing1. */
  readonly templates: Map<string, readonly string[]>;
}

export function parseSimulatedApps(text: string): ReadonlyMap<string, SimulatedApp> {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new Error("the apps are not a list");
  return new Map(
    value.map((one: unknown, i) => {
      const app = readApp(one);
      if (app === undefined) {
        throw new Error(`app ${i + 1} is not { appid, secret, kind, templates: { ID: [field, …] } }`);
      }
      return [app.appid, app];
    }),
  );
}

function readApp(value: unknown): SimulatedApp | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { appid, secret, kind, templates } = value as Readonly<Record<string, unknown>>;
  if (typeof appid !== "string" || typeof secret !== "string" || appid === "" || secret === "")
    return undefined;
  if (kind !== "service-account" && kind !== "mini-program") return undefined;
  if (typeof templates !== "object" || templates === null) return undefined;
  const read = new Map<string, readonly string[]>();
  for (const [id, fields] of Object.entries(templates as Readonly<Record<string, unknown>>)) {
    if (!Array.isArray(fields) || !fields.every((field): field is string => typeof field === "string")) {
      return undefined;
    }
    read.set(id, fields);
  }
  return { appid, secret, kind, templates: read };
}
