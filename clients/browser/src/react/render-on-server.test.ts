// Tests React on a server, and what components share.
// Guarantees: without a WebSocket everything renders; a store stops after the last who looks, and not between.
import { createElement, type ReactNode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import { PetrelClient } from "../client.js";
import { LiveStore, withNewest } from "./live-store.js";
import {
  PetrelProvider,
  useConnectionState,
  useMessages,
  usePetrel,
  usePresence,
  useTopic,
} from "./petrel-react.js";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function Room(): ReactNode {
  const { messages, status } = useTopic("room.1");
  const all = [
    useConnectionState(),
    useMessages().length,
    messages.length,
    status,
    usePresence("room.1")?.users ?? "nobody",
    usePetrel().state,
  ];
  return createElement("p", null, all.join(" "));
}

test("on a server it renders the state before the first connection, and opens none", () => {
  vi.stubGlobal("WebSocket", undefined);
  const getToken = vi.fn(() => "token");
  const options = { url: "/v1/connect", getToken };
  const html = renderToString(createElement(PetrelProvider, { options }, createElement(Room)));
  expect(html).toBe("<p>closed 0 0 joining nobody closed</p>");
  expect(getToken).not.toHaveBeenCalled();
  expect(() => new PetrelClient({ url: "wss://push.test/v1/connect", getToken }).connect()).toThrow(
    /WebSocket/,
  );
});

test("without a provider a hook throws a clear error", () => {
  expect(() => renderToString(createElement(Room))).toThrow(/no PetrelProvider/);
});

test("a store starts with the first subscriber and stops after the last, unless one returns in the same turn", () => {
  vi.useFakeTimers();
  const stop = vi.fn();
  const start = vi.fn(() => stop);
  const onIdle = vi.fn();
  const store = new LiveStore(0, start, onIdle);
  const offs = [store.subscribe(() => undefined), store.subscribe(() => undefined)];
  offs[0]?.();
  // Twice is once.
  offs[0]?.();
  offs[1]?.();
  const off = store.subscribe(() => undefined);
  vi.runAllTimers();
  expect([start.mock.calls.length, stop.mock.calls.length]).toEqual([1, 0]);
  off();
  expect(stop).not.toHaveBeenCalled();
  vi.runAllTimers();
  expect([stop.mock.calls.length, onIdle.mock.calls.length]).toEqual([1, 1]);
});

test("the value is the same object until it changes, for all subscribers", () => {
  let set: (change: (value: readonly number[]) => readonly number[]) => void = () => undefined;
  const store = new LiveStore<readonly number[]>([], (given) => {
    set = given;
    return () => undefined;
  });
  const told = vi.fn();
  store.subscribe(told);
  set((value) => value);
  expect(told).not.toHaveBeenCalled();
  set((value) => withNewest(value, 1, 2));
  set((value) => withNewest(value, 2, 2));
  set((value) => withNewest(value, 3, 2));
  expect([store.get(), store.get() === store.get(), told.mock.calls.length]).toEqual([[2, 3], true, 3]);
});
