// kernel/http/http-app -> here: the framework's own schema compilers, loaded and run on a schema's first use.
// Guarantees: requests are checked and answers written as the framework would. A process pays only for the routes that
// it serves; a push node has no schema and pays nothing.
import { createRequire } from "node:module";
import type { FastifyServerOptions } from "fastify";

type SchemaController = NonNullable<FastifyServerOptions["schemaController"]>;
export type CompilersFactory = Required<NonNullable<SchemaController["compilersFactory"]>>;

/** @param schemas shared ones @param options of the application @param route one schema of a route */
type Factory<F> = (schemas: unknown, options: unknown) => (route: unknown) => F;
type Validate = ((data: unknown) => unknown) & { errors?: unknown };
type Serialize = (data: unknown) => string;

/** Resolved from the framework, so that they are the versions it was built for. */
const requireOfFramework = createRequire(createRequire(import.meta.url).resolve("fastify"));

/** For one application. */
export function compileWhenUsed(): CompilersFactory {
  return {
    buildValidator: buildValidator as CompilersFactory["buildValidator"],
    buildSerializer,
  };
}

const buildValidator: Factory<Validate> = (schemas, options) => {
  const compiler = once(() => {
    const load = requireOfFramework("@fastify/ajv-compiler") as () => Factory<Validate>;
    return load()(schemas, options);
  });
  return (route) => {
    const compiled = once(() => compiler()(route));
    const validate: Validate = (data) => {
      const result = compiled()(data);
      validate.errors = compiled().errors;
      return result;
    };
    return validate;
  };
};

const buildSerializer: Factory<Serialize> = (schemas, options) => {
  const compiler = once(() => {
    const load = requireOfFramework("@fastify/fast-json-stringify-compiler") as {
      SerializerSelector(): Factory<Serialize>;
    };
    return load.SerializerSelector()(schemas, options);
  });
  return (route) => {
    const compiled = once(() => compiler()(route));
    return (data) => compiled()(data);
  };
};

function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
