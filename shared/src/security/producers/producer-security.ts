// The producer's credentials in the routes' documentation: OpenAPI security requirements, named by kernel/http-app.
// Guarantees: what `authorize` accepts, and nothing else.

/** Either a bearer credential, or all headers of a signature together; see docs/send/producers.md. */
export const producerSecurity: { readonly [scheme: string]: readonly string[] }[] = [
  { bearer: [] },
  { petrelKey: [], petrelId: [], petrelTimestamp: [], petrelSignature: [] },
];
