// The pane of a topic: join one, publish to it, see who is there, by the same SDK connection as the messages.
// Guarantees: what it shows came from the cluster, the own messages too; a hole is shown where it is.
import { fact, payload, showProblem, time } from "./list-parts.js";

const SHOWN = 300;

/**
 * @param parts the page's elements
 * @returns {{ use(client: object | undefined): void }} told of the client that is signed in
 */
export function createTopicRoom(parts) {
  const { form, topic, join, leave, state, here, problem, list, publishForm, text, publish } = parts;
  let client;
  let handle;

  function showState(name) {
    state.textContent = name;
    state.dataset.state = name;
    const isJoined = handle !== undefined;
    topic.disabled = isJoined;
    join.disabled = isJoined || client === undefined;
    leave.disabled = !isJoined;
    publish.disabled = !isJoined;
    if (!isJoined) here.textContent = "";
  }

  function add(item) {
    list.prepend(item);
    while (list.childElementCount > SHOWN) list.lastElementChild.remove();
  }

  function addMessage({ id, offset, at, from, data }) {
    const item = document.createElement("li");
    item.dataset.id = id;
    item.dataset.offset = String(offset);
    const facts = document.createElement("div");
    facts.className = "facts";
    facts.append(fact("seq", `#${offset}`), fact("id", from ?? "a business system"), time(at));
    item.append(facts, payload(data));
    add(item);
  }

  function addHole({ after, position }) {
    const item = document.createElement("li");
    item.className = "hole";
    item.textContent = `Messages after #${after.offset} were missed; it goes on after #${position.offset}.`;
    add(item);
  }

  function showPresence({ users, here: names }) {
    const who = names === undefined ? "" : `: ${names.join(", ")}`;
    here.textContent = `${users} ${users === 1 ? "user" : "users"} here${who}`;
  }

  function subscribe(presence) {
    let isCurrent = true;
    const whileCurrent = (listener) => (value) => (isCurrent ? listener(value) : undefined);
    const its = client.subscribe(topic.value, {
      from: "oldest",
      presence,
      onPresence: whileCurrent(showPresence),
      onMessage: whileCurrent(addMessage),
      onLost: whileCurrent(addHole),
      onSubscribed: whileCurrent(() => showState("subscribed")),
      onError: whileCurrent((error) => {
        // The topic's rule may keep who is there to itself: the messages may come all the same.
        if (presence && !error.retryable) {
          isCurrent = false;
          its.unsubscribe();
          subscribe(false);
          here.textContent = "who is here is not told in this topic";
          return;
        }
        showState("refused");
        showProblem(problem, error.message);
      }),
    });
    handle = {
      publish: its.publish,
      end() {
        isCurrent = false;
        its.unsubscribe();
      },
    };
  }

  function end() {
    handle?.end();
    handle = undefined;
    showProblem(problem, "");
    showState("closed");
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (client === undefined || handle !== undefined) return;
    list.replaceChildren();
    showProblem(problem, "");
    subscribe(true);
    showState("subscribing");
  });
  leave.addEventListener("click", end);
  publishForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (handle === undefined) return;
    showProblem(problem, "");
    const published = handle.publish({ text: text.value });
    text.value = "";
    published.catch((error) => showProblem(problem, error.message));
  });
  showState("closed");

  return {
    use(next) {
      end();
      client = next;
      showState("closed");
    },
  };
}
