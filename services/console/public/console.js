// The page's entry: puts its parts together.
// Guarantees: everything on the page is what the cluster said; nothing is shown as sent or received before it is.
import { createBrowser } from "./browser.js";
import { readConfig } from "./cluster.js";
import { createMessageList } from "./message-list.js";
import { createPhone } from "./phone.js";
import { createReceiver } from "./receiver.js";
import { createSender } from "./sender.js";
import { createSentList } from "./sent-list.js";
import { createTopicRoom } from "./topic-room.js";

const find = (id) => document.getElementById(id);

const phone = createPhone({
  card: find("phone-card"),
  title: find("phone-title"),
  note: find("phone-note"),
  add: find("phone-add"),
  remove: find("phone-remove"),
  clear: find("phone-clear"),
  problem: find("phone-problem"),
  screen: find("phone-screen"),
});
const browser = createBrowser({
  card: find("browser-card"),
  title: find("browser-title"),
  note: find("browser-note"),
  add: find("browser-add"),
  remove: find("browser-remove"),
  problem: find("browser-problem"),
  list: find("browser-list"),
});
const messages = createMessageList({ list: find("messages"), count: find("message-count") });
const room = createTopicRoom({
  form: find("topic-form"),
  topic: find("topic"),
  join: find("topic-join"),
  leave: find("topic-leave"),
  state: find("topic-state"),
  here: find("topic-here"),
  problem: find("topic-problem"),
  list: find("topic-messages"),
  publishForm: find("topic-publish-form"),
  text: find("topic-text"),
  publish: find("topic-publish"),
});
createReceiver({
  form: find("sign-in-form"),
  user: find("user"),
  signOut: find("sign-out"),
  state: find("state"),
  whereabouts: find("whereabouts"),
  problem: find("problem"),
  readConfig,
  messages,
  onSignIn: (userId) => {
    phone.show(userId);
    browser.show(userId);
  },
  onClient: (client) => room.use(client),
});
createSender({
  form: find("send-form"),
  to: find("to"),
  data: find("data"),
  title: find("notification-title"),
  body: find("notification-body"),
  fallback: find("fallback"),
  button: find("send"),
  problem: find("send-problem"),
  sent: createSentList(find("sent")),
});

readConfig().then(
  ({ hasPhones, hasBrowsers }) => {
    phone.offer(hasPhones);
    browser.offer(hasBrowsers);
  },
  () => undefined,
);

// Most of the time one looks at oneself: the recipient follows the user until it was edited.
let recipientEdited = false;
find("to").addEventListener("input", () => (recipientEdited = true));
find("user").addEventListener("input", () => {
  if (!recipientEdited) find("to").value = find("user").value;
});

// `/?user=bob` fills the name in, for a second window beside the first. Signing in is a person's click: an address can
// come from anywhere, and whoever signs in reads that user's messages and takes a place of that user's connections.
const named = new URLSearchParams(location.search).get("user");
if (named !== null) {
  find("user").value = named;
  find("to").value = named;
  find("sign-in").focus();
}
