// A room that people talk in, and what is sent to the user who looks at it.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { PetrelProvider, useConnectionState, useMessages, usePresence, useTopic } from "@petrel/client/react";

const ROOM = "demo.react";

function App() {
  const state = useConnectionState();
  return (
    <main>
      <p id="state">{state}</p>
      <Inbox />
      <Room />
    </main>
  );
}

/** What business systems send to this user, each once. */
function Inbox() {
  const messages = useMessages();
  return (
    <ul id="inbox">
      {messages.map(({ id, data }) => (
        <li key={id}>{data.text}</li>
      ))}
    </ul>
  );
}

function Room() {
  const room = useTopic(ROOM, { from: "oldest" });
  const presence = usePresence(ROOM);
  const [text, setText] = useState("");
  const say = (event) => {
    event.preventDefault();
    if (text === "") return;
    // Kept until it is published, also over a reconnect.
    room.publish({ text }).catch((error) => alert(error.message));
    setText("");
  };
  return (
    <section>
      <p id="there">{presence?.users ?? 0} there</p>
      <ul id="room">
        {room.messages.map(({ offset, from, data }) => (
          <li key={offset}>
            {from}: {data.text}
          </li>
        ))}
      </ul>
      <form onSubmit={say}>
        <input value={text} onChange={(event) => setText(event.target.value)} placeholder="say something" />
      </form>
    </section>
  );
}

const user = new URLSearchParams(location.search).get("user") ?? "ada";
const nodes = await (await fetch("/nodes")).json();
const options = {
  url: nodes,
  getToken: async () => (await fetch(`/token?user=${encodeURIComponent(user)}`, { method: "POST" })).text(),
};

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <PetrelProvider options={options}>
      <App />
    </PetrelProvider>
  </StrictMode>,
);
