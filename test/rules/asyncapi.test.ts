// Tests docs/asyncapi.json against the code of both ends of the socket.
// Guarantees: it has every frame of either side and no other; its examples are read by the push node and by the client.
import { readFileSync } from "node:fs";
import { parseClientFrame } from "@petrel/shared/protocol/frames/client-frames";
import { expect, test } from "vitest";
import { parseServerFrame } from "../../clients/browser/src/frames.js";

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

interface Message {
  readonly payload: { readonly required: readonly string[]; readonly properties: Record<string, unknown> };
  readonly examples: readonly { readonly payload: Readonly<Record<string, unknown>> }[];
}

const page = JSON.parse(read("docs/asyncapi.json")) as {
  readonly operations: Readonly<Record<string, { readonly messages: readonly { readonly $ref: string }[] }>>;
  readonly components: { readonly messages: Readonly<Record<string, Message>> };
};
const messagesOf = (operation: string): Message[] =>
  (page.operations[operation]?.messages ?? []).map(({ $ref }) => {
    const message = page.components.messages[$ref.split("/").at(-1) ?? ""];
    if (message === undefined) throw new Error($ref);
    return message;
  });
const typeOf = ({ payload }: Message) => (payload.properties["type"] as { const: string }).const;

test("names every frame the node sends, as the client reads it", () => {
  const code = read("shared/src/protocol/frames/server-frames.ts");
  const types = new Set([...code.matchAll(/type: "(\w+)"/g)].map(([, type = ""]) => type));
  const messages = messagesOf("receiveFromServer");
  expect([...new Set(messages.map(typeOf))]).toEqual(expect.arrayContaining([...types]));
  for (const message of messages) {
    const [example] = message.examples;
    const { type } = parseServerFrame(JSON.stringify(example?.payload));
    expect([typeOf(message), type === "other"]).toEqual([typeOf(message), typeOf(message) === "pong"]);
    expect(Object.keys(example?.payload ?? {})).toEqual(
      expect.arrayContaining([...message.payload.required]),
    );
  }
});

test("names every frame a client sends, as the node reads it", () => {
  const messages = messagesOf("sendToServer");
  for (const message of messages) {
    expect(parseClientFrame(JSON.stringify(message.examples[0]?.payload))).toMatchObject({
      ok: true,
      frame: { type: typeOf(message) },
    });
  }
  const code = read("shared/src/protocol/frames/client-frames.ts");
  const types = [...code.matchAll(/case "(\w+)":/g)].map(([, type = ""]) => type);
  expect(messages.map(typeOf).sort()).toEqual(types.sort());
});
