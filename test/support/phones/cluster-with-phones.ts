// Tests only: what the flows with iPhones ask of a cluster.
// Guarantees: an unexpected answer is an error that shows it.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";

export const APP = { topic: "com.example.app", environment: "production" } as const;

export interface MessageState {
  readonly state: string;
  readonly reason?: { readonly code: string; readonly message: string };
  readonly timeline: readonly {
    readonly event: string;
    readonly outcome?: string;
    readonly channel?: string;
    readonly details?: Readonly<Record<string, string>>;
  }[];
}

export async function callCluster(
  cluster: TestCluster,
  method: string,
  url: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await askService(url, {
    method,
    headers: {
      authorization: `Bearer ${cluster.adminKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

export async function registerPhone(cluster: TestCluster, user: string, token: string): Promise<void> {
  const device = { platform: "ios", token, ...APP };
  const { status, body } = await callCluster(
    cluster,
    "PUT",
    `${cluster.auth.url}/v1/users/${user}/devices`,
    device,
  );
  if (status !== 204) throw new Error(`PUT devices: ${status} ${JSON.stringify(body)}`);
}

export async function phonesOf(cluster: TestCluster, user: string): Promise<readonly unknown[]> {
  const { body } = await callCluster(cluster, "GET", `${cluster.auth.url}/v1/users/${user}/devices`);
  return (body as { readonly items: readonly unknown[] }).items;
}

export async function readState(cluster: TestCluster, id: string): Promise<MessageState> {
  const { status, body } = await callCluster(cluster, "GET", `${cluster.collect.url}/v1/messages/${id}`);
  if (status !== 200) throw new Error(`GET message: ${status} ${JSON.stringify(body)}`);
  return body as MessageState;
}

/** The sum, over these services, of all series with these labels. */
export async function metricOf(
  urls: readonly string[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  let sum = 0;
  for (const url of urls) {
    const text = await (await askService(`${url}/metrics`)).text();
    for (const line of text.split("\n")) {
      if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
      if (!Object.entries(labels).every(([label, word]) => line.includes(`${label}="${word}"`))) continue;
      sum += Number(line.slice(line.lastIndexOf(" ") + 1));
    }
  }
  return sum;
}
