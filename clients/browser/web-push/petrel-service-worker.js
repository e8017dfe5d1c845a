// A page's service worker, ready to use: shows what Petrel pushes, opens the page on a click, and tells the page's client.
// Guarantees: each push shows something, as browsers demand; a newer one with the same tag takes the older one's place; an
// open page is brought to the front before a new one is opened. A classic script without imports: serve it as it is, or
// `importScripts` it from your own.
"use strict";

(() => {
  /** What a notification may say of itself: https://notifications.spec.whatwg.org/#dictdef-notificationoptions */
  const SHOWN = ["body", "icon", "image", "badge", "tag", "lang", "dir", "silent", "requireInteraction"];

  self.addEventListener("install", () => void self.skipWaiting());
  self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

  self.addEventListener("push", (event) => event.waitUntil(show(readPush(event.data))));
  self.addEventListener("notificationclick", (event) => {
    event.notification.close();
    event.waitUntil(open(event.notification, event.action));
  });
  self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(subscribeAgain(event)));

  /** Whatever came: browsers take a worker's right away where it shows nothing. */
  function readPush(data) {
    let text = "";
    try {
      text = data === null ? "" : data.text();
      const push = JSON.parse(text);
      if (typeof push?.notification === "object" && push.notification !== null) return push;
    } catch {
      // Not from Petrel.
    }
    return { notification: { title: text } };
  }

  async function show({ notification, app_badge: badge, petrel }) {
    const { title, navigate, data } = notification;
    const options = { data: { petrel, navigate, data, actions: notification.actions } };
    for (const name of SHOWN) if (notification[name] !== undefined) options[name] = notification[name];
    // Else the newer one would take the older one's place without a sound.
    if (options.tag !== undefined && options.silent !== true) options.renotify = true;
    if (Array.isArray(notification.actions)) {
      options.actions = notification.actions.map(({ action, title: label, icon }) => ({
        action,
        title: label,
        icon,
      }));
    }
    await self.registration.showNotification(String(title ?? ""), options);
    if (Number.isInteger(badge) && "setAppBadge" in self.navigator) {
      await self.navigator.setAppBadge(badge).catch(() => undefined);
    }
    await tell({ type: "petrel:push", ...petrel });
  }

  async function open({ data }, action) {
    const chosen = data?.actions?.find((one) => one.action === action);
    const address = new URL(chosen?.navigate ?? data?.navigate ?? "/", self.registration.scope);
    const clicked = { type: "petrel:click", ...data?.petrel, action, data: data?.data };
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const there = pages.find(({ url }) => url === address.href);
    const page = there ?? (await self.clients.openWindow(address.href));
    await there?.focus().catch(() => undefined);
    // Of another origin: it is none of ours.
    page?.postMessage(clicked, []);
  }

  async function tell(message) {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    for (const page of pages) page.postMessage(message, []);
  }

  /** The page registers it with its user's token, when it is open; a page that starts does so, too. */
  async function subscribeAgain({ oldSubscription, newSubscription }) {
    if (newSubscription == null && oldSubscription != null) {
      await self.registration.pushManager.subscribe(oldSubscription.options);
    }
    await tell({ type: "petrel:subscription" });
  }
})();
