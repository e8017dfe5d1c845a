// The routes' documentation of what a producer shows: OpenAPI security requirements, named by kernel/http-app.
// Guarantees: what `authorize` takes, and nothing else.

/** Either a bearer credential, or all headers of a signature together; see docs/send/producers.md. */
export const producerSecurity: { readonly [scheme: string]: readonly string[] }[] = [
  { bearer: [] },
  { petrelKey: [], petrelId: [], petrelTimestamp: [], petrelSignature: [] },
];
