// Builds the page, serves it, and gives its user an access token, as a business system would.
// Usage: node examples/react-app/server.mjs [port], beside a running `npm start`.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const port = Number(process.argv[2] ?? 8081);
const devFile = process.env.PETREL_DEV_JSON ?? ".data/dev.json";
const { auth, nodes, apiKey, apiSecret } = JSON.parse(await readFile(devFile, "utf8"));
const page =
  "<!doctype html><meta charset=utf-8><title>Petrel and React</title><div id=root></div><script type=module src=/app.js></script>";

/** React's own build is chosen by NODE_ENV. */
async function build() {
  const bundle = await rolldown({
    input: fileURLToPath(new URL("app.jsx", import.meta.url)),
    platform: "browser",
    transform: { define: { "process.env.NODE_ENV": '"production"' } },
  });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
  await bundle.close();
  return output[0].code;
}

async function token(userId) {
  // Here your own session says who asks. This page believes its address.
  const answer = await fetch(`${auth}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}.${apiSecret}`, "content-type": "application/json" },
    body: JSON.stringify({
      userId,
      topics: [{ topic: "demo.*", can: ["subscribe", "publish", "presence"] }],
    }),
  });
  if (!answer.ok) throw new Error(`auth answers ${answer.status}`);
  return (await answer.json()).accessToken;
}

const script = await build();

async function answer({ method, url }) {
  const { pathname, searchParams } = new URL(url, "http://localhost");
  if (method === "POST" && pathname === "/token")
    return ["text/plain", await token(searchParams.get("user") ?? "")];
  if (pathname === "/nodes") return ["application/json", JSON.stringify(nodes)];
  if (pathname === "/app.js") return ["text/javascript", script];
  return pathname === "/" ? ["text/html; charset=utf-8", page] : undefined;
}

createServer((request, response) => {
  answer(request).then(
    (found) => {
      const [type, body] = found ?? ["text/plain", "not here"];
      response.writeHead(found === undefined ? 404 : 200, {
        "content-type": type,
        "cache-control": "no-store",
      });
      response.end(body);
    },
    (error) => response.writeHead(503).end(String(error)),
  );
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
