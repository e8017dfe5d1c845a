// The list of sent messages, each with its state, which is asked for until it is final.
// Guarantees: asking slows down while nothing changes, and ends with the final state or when the entry leaves.
import { readMessage } from "./cluster.js";
import { fact } from "./list-parts.js";

const SHOWN = 30;
const FIRST_WAIT_MS = 150;
const LONGEST_WAIT_MS = 3_000;
// `pushed` and `failed` may still become `delivered`, so they are asked for on.
const FINAL = new Set(["delivered", "expired", "cancelled", "published"]);

/** @returns {{ add(message: { id: string, to: string }): void }} */
export function createSentList(list) {
  return {
    add({ id, to }) {
      const item = document.createElement("li");
      item.dataset.id = id;
      const facts = document.createElement("div");
      facts.className = "facts";
      const pill = fact("pill end", "");
      facts.append(fact("to", `to ${to}`), fact("id", id), pill);
      item.append(facts);
      list.prepend(item);
      while (list.childElementCount > SHOWN) list.lastElementChild.remove();
      showState(item, pill, "queued");
      void follow(item, pill, id);
    },
  };
}

async function follow(item, pill, id) {
  let waitMs = FIRST_WAIT_MS;
  while (!FINAL.has(item.dataset.state)) {
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    // It made room for newer ones.
    if (!item.isConnected) return;
    try {
      const { state, reason } = await readMessage(id);
      waitMs = state === item.dataset.state ? Math.min(waitMs * 1.5, LONGEST_WAIT_MS) : FIRST_WAIT_MS;
      showState(item, pill, state, reason?.message);
    } catch (error) {
      waitMs = LONGEST_WAIT_MS;
      pill.title = error.message;
      // Kept for a day after its end: one that is gone was final.
      if (error.code === "PETREL_NOT_FOUND") return;
    }
  }
}

function showState(item, pill, state, why = "") {
  item.dataset.state = state;
  pill.dataset.state = state;
  pill.textContent = state;
  pill.title = why;
}
