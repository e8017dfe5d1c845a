// start-cluster, flows -> here: one request to a service. For what is asked a hundred times a test: `fetch` takes three
// times the CPU.
// Guarantees: connections are kept for the next request, until `hangUpAsked`; an answer of whatever status is read whole;
// only no answer rejects.
import { Agent, request } from "node:http";

export interface AskInit {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** A POST that may be asked twice: it makes something that nobody misses, such as a token. */
  readonly isRepeatable?: boolean;
}

export interface AskAnswer {
  /** 2xx. */
  readonly ok: boolean;
  readonly status: number;
  readonly text: () => Promise<string>;
}

export interface ServiceAnswer extends AskAnswer {
  readonly headers: { readonly get: (name: string) => string | null };
  readonly json: () => Promise<unknown>;
}

type Given =
  | { readonly kind: "answer"; readonly answer: ServiceAnswer }
  | { readonly kind: "none"; readonly error: Error; readonly wasKept: boolean };

class KeptConnections {
  #agent = new Agent({ keepAlive: true });

  get agent(): Agent {
    return this.#agent;
  }

  /** Those in use end with their request. */
  hangUp(): void {
    const before = this.#agent;
    this.#agent = new Agent({ keepAlive: true });
    before.maxFreeSockets = 0;
    for (const sockets of Object.values(before.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }
}

const kept = new KeptConnections();

/** @param url http: only @throws if there is no answer */
export async function askService(url: string, init: AskInit = {}): Promise<ServiceAnswer> {
  for (;;) {
    const given = await askOnce(url, init);
    if (given.kind === "answer") return given.answer;
    // The service ended the connection just as it was used again. What changes nothing may be asked twice.
    const { method = "GET", isRepeatable = method === "GET" } = init;
    if (!given.wasKept || !isRepeatable)
      throw new Error(`${method} ${url}: ${given.error.message}`, { cause: given.error });
  }
}

export function hangUpAsked(): void {
  kept.hangUp();
}

function askOnce(url: string, { body, method, headers, signal }: AskInit): Promise<Given> {
  return new Promise((resolve) => {
    const asked = request(url, {
      method,
      headers,
      ...(signal === undefined ? {} : { signal }),
      agent: kept.agent,
    });
    const fail = (error: Error): void => resolve({ kind: "none", error, wasKept: asked.reusedSocket });
    asked.on("error", fail);
    asked.on("response", (response) => {
      const { statusCode: status = 0, headers } = response;
      let said = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (said += chunk));
      response.on("error", fail);
      response.on("end", () => {
        const answer: ServiceAnswer = {
          ok: status >= 200 && status < 300,
          status,
          headers: { get: (name) => headers[name.toLowerCase()]?.toString() ?? null },
          text: async () => said,
          json: async () => JSON.parse(said) as unknown,
        };
        resolve({ kind: "answer", answer });
      });
    });
    asked.end(body);
  });
}
