// Tests only: a page in React, in StrictMode, that react.test.ts drives.
// Guarantees: shows what the hooks give; counts each call of a handler.
import { createElement, StrictMode, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import {
  PetrelProvider,
  useConnectionState,
  useMessages,
  usePetrel,
  usePresence,
  useTopic,
} from "@petrel/client/react";

const page = globalThis as unknown as {
  readonly petrelOptions: {
    readonly url: string;
    readonly token: string;
    readonly topic: string;
    readonly shared: boolean;
  };
  readonly handled: unknown[];
  readonly handledOfTopic: unknown[];
  show: (what: { readonly provider: boolean; readonly rooms: number }) => void;
  publish: (data: unknown) => Promise<unknown>;
};
const { url, token, topic, shared } = page.petrelOptions;

function Room(): ReactNode {
  const client = usePetrel();
  const state = useConnectionState();
  // New functions at every render, as applications write them.
  const messages = useMessages<number>(({ data }) => page.handled.push(data));
  const room = useTopic<number>(topic, {
    from: "oldest",
    onMessage: ({ data }) => page.handledOfTopic.push(data),
  });
  const presence = usePresence(topic);
  page.publish = room.publish;
  const text = JSON.stringify({
    state,
    same: client.state === state,
    messages: messages.map(({ data }) => data),
    status: room.status,
    topic: room.messages.map(({ data }) => data),
    connections: presence?.connections ?? null,
  });
  return createElement("p", { className: "room" }, text);
}

const root = createRoot(document.getElementById("root") ?? document.body);

page.show = ({ provider, rooms }) => {
  const all = Array.from({ length: rooms }, (_, i) => createElement(Room, { key: i }));
  // A new object at every render, too.
  const options = { url, shared, getToken: () => token };
  const tree = provider
    ? createElement(StrictMode, null, createElement(PetrelProvider, { options }, ...all))
    : null;
  flushSync(() => root.render(tree));
};
