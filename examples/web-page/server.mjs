// A business system in miniature: it serves a page, and gives the page's user an access token.
// Usage: node examples/web-page/server.mjs [port], beside a running `npm start`.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 8080);
const devFile = process.env.PETREL_DEV_JSON ?? ".data/dev.json";
const { auth, nodes, apiKey, apiSecret } = JSON.parse(await readFile(devFile, "utf8"));
const page = await readFile(new URL("index.html", import.meta.url));
const sdk = new URL("../../clients/browser/dist/", import.meta.url);

async function token() {
  // Here your own session says who asks. This page has one user only.
  const answer = await fetch(`${auth}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}.${apiSecret}`, "content-type": "application/json" },
    body: JSON.stringify({ userId: "ada" }),
  });
  if (!answer.ok) throw new Error(`auth answers ${answer.status}`);
  return (await answer.json()).accessToken;
}

async function answer({ method, url }) {
  if (method === "POST" && url === "/token") return ["text/plain", await token()];
  if (url === "/nodes") return ["application/json", JSON.stringify(nodes)];
  const module = /^\/sdk\/((?:[\w-]+\/)*[\w-]+\.js)$/.exec(url)?.[1];
  if (module !== undefined) return ["text/javascript", await readFile(new URL(module, sdk))];
  return url === "/" ? ["text/html; charset=utf-8", page] : undefined;
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
