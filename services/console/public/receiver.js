// Signs in as a user and shows what arrives: the real SDK over a real socket.
// Guarantees: one client at a time; what a client that was signed out still says is not shown.
import { PetrelClient } from "./sdk/client.js";
import { createToken } from "./cluster.js";
import { showProblem } from "./list-parts.js";

/**
 * @param parts the page's elements; `onSignIn(userId)` is told who signs in, `onClient(client)` of the client that is
 *   used from now on, undefined for none
 */
export function createReceiver(parts) {
  const { form, user, signOut, state, whereabouts, problem, readConfig, messages, onSignIn, onClient } =
    parts;
  let client;

  function showState(name) {
    state.textContent = name;
    state.dataset.state = name;
    signOut.disabled = name === "closed";
    if (name !== "online") whereabouts.textContent = "";
  }

  async function stop() {
    const previous = client;
    client = undefined;
    onClient(undefined);
    await previous?.close("signed out on the page");
  }

  async function signIn(userId) {
    await stop();
    onSignIn(userId);
    messages.clear();
    showProblem(problem, "");
    showState("connecting");
    let nodeUrls;
    try {
      ({ nodeUrls } = await readConfig());
    } catch (error) {
      showState("closed");
      showProblem(problem, error.message);
      return;
    }
    const started = new PetrelClient({ url: shuffled(nodeUrls), getToken: () => createToken(userId) });
    client = started;
    const whileCurrent = (listener) => (payload) => {
      if (client === started) listener(payload);
    };
    started.on("state", whileCurrent(showState));
    started.on("message", whileCurrent(messages.add));
    started.on(
      "error",
      whileCurrent((error) => showProblem(problem, error.message)),
    );
    started.on(
      "welcome",
      whileCurrent(({ node, user: name, epoch }) => {
        showProblem(problem, "");
        whereabouts.textContent = `${name} on ${node}`;
        whereabouts.title = `epoch ${epoch}`;
      }),
    );
    started.on(
      "closed",
      whileCurrent(({ code, error }) => {
        onClient(undefined);
        showProblem(problem, `Closed by the server: ${error?.message ?? "no reason given"} (${code})`);
      }),
    );
    onClient(started);
    started.connect();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void signIn(user.value);
  });
  signOut.addEventListener("click", () => {
    showState("closed");
    showProblem(problem, "");
    void stop();
  });
}

/** Pages spread over the nodes; the SDK goes on to the next where one fails. */
function shuffled(urls) {
  return urls
    .map((url) => ({ url, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ url }) => url);
}
