// kernel/http/http-app -> here: the framework's own schema compilers, loaded and run on a schema's first use.
// Guarantees: requests are checked and answers written as the framework would; but a query parameter that is given twice
// is called that, not "no string". A process pays only for the routes that
// it serves; a push node has no schema and pays nothing.
import { createRequire } from "node:module";
import type { FastifyServerOptions } from "fastify";

type SchemaController = NonNullable<FastifyServerOptions["schemaController"]>;
export type CompilersFactory = Required<NonNullable<SchemaController["compilersFactory"]>>;

/** @param schemas shared ones @param options of the application @param route one schema of a route */
type Factory<F> = (
  schemas: unknown,
  options: unknown,
) => (route: { readonly schema?: unknown; readonly httpPart?: string }) => F;
interface Fault {
  readonly instancePath: string;
  readonly message?: string;
}
type Validate = ((data: unknown) => unknown) & { errors?: readonly Fault[] | null | undefined };
type Serialize = (data: unknown) => string;

/** Resolved from the framework, so that they are the versions it was built for. */
const requireOfFramework = createRequire(createRequire(import.meta.url).resolve("fastify"));

/**
 * What was compiled, by the text of its schema: for a process that opens one application after another, all with the same
 * options.
 */
export class CompiledSchemas {
  readonly #validators = new Map<string, Validate>();
  readonly #serializers = new Map<string, Serialize>();

  validator(shared: unknown, schema: unknown, compile: () => Validate): Validate {
    return compiledOnce(this.#validators, [shared, schema], compile);
  }

  serializer(shared: unknown, schema: unknown, compile: () => Serialize): Serialize {
    return compiledOnce(this.#serializers, [shared, schema], compile);
  }
}

function compiledOnce<T>(all: Map<string, T>, schemas: readonly unknown[], compile: () => T): T {
  const text = JSON.stringify(schemas);
  const known = all.get(text);
  if (known !== undefined) return known;
  const made = compile();
  all.set(text, made);
  return made;
}

/** For one application. @param known what others of this process have compiled */
export function compileWhenUsed(known: CompiledSchemas = new CompiledSchemas()): CompilersFactory {
  return {
    buildValidator: buildValidator(known) as CompilersFactory["buildValidator"],
    buildSerializer: buildSerializer(known),
  };
}

const buildValidator =
  (known: CompiledSchemas): Factory<Validate> =>
  (schemas, options) => {
    const compiler = once(() => {
      const load = requireOfFramework("@fastify/ajv-compiler") as () => Factory<Validate>;
      return load()(schemas, options);
    });
    return (route) => {
      const compiled = once(() => known.validator(schemas, route.schema, () => compiler()(route)));
      const validate: Validate = (data) => {
        const result = compiled()(data);
        const { errors } = compiled();
        validate.errors =
          route.httpPart === "querystring" ? errors?.map((one) => nameRepeated(one, data)) : errors;
        return result;
      };
      return validate;
    };
  };

/** The framework reads what is given more than once as a list, and no parameter of ours is one. */
function nameRepeated(fault: Fault, query: unknown): Fault {
  const name = fault.instancePath.slice(1).replaceAll("~1", "/").replaceAll("~0", "~");
  const isRepeated = Array.isArray((query as Readonly<Record<string, unknown>>)[name]);
  return isRepeated ? { ...fault, message: "is given more than once" } : fault;
}

const buildSerializer =
  (known: CompiledSchemas): Factory<Serialize> =>
  (schemas, options) => {
    const compiler = once(() => {
      const load = requireOfFramework("@fastify/fast-json-stringify-compiler") as {
        SerializerSelector(): Factory<Serialize>;
      };
      return load.SerializerSelector()(schemas, options);
    });
    return (route) => {
      const compiled = once(() => known.serializer(schemas, route.schema, () => compiler()(route)));
      return (data) => compiled()(data);
    };
  };

function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
