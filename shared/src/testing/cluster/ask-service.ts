// start-cluster, flows -> here: one request to a service. For what is asked a hundred times a test: `fetch` takes three
// times the CPU.
// Guarantees: connections are kept for the next request, until `hangUpAsked`; an answer is read whole.
import { Agent, request } from "node:http";
import { text } from "node:stream/consumers";

export interface AskInit {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface AskAnswer {
  readonly ok: boolean;
  readonly status: number;
  readonly text: () => Promise<string>;
}

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
export function askService(
  url: string,
  { method = "GET", headers = {}, body }: AskInit = {},
): Promise<AskAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: kept.agent, method, headers }, (answer) => {
      text(answer).then((said) => {
        const status = answer.statusCode ?? 0;
        resolve({ ok: status >= 200 && status < 300, status, text: () => Promise.resolve(said) });
      }, reject);
    });
    asked.once("error", reject);
    asked.end(body);
  });
}

export function hangUpAsked(): void {
  kept.hangUp();
}
