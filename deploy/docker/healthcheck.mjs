#!/usr/bin/env node
// The container engine -> here -> the service in the same container: is it ready?
// Guarantees: exit code 0 if /health/ready answers 200 in time, else 1 and one line that says why; no shell, no
// dependencies.
//
// PORT and HOST are the service's own. Where it speaks TLS, its certificate names the service and not this address, so
// it is not checked here; where it asks clients for a certificate, it is shown its own.
import { readFileSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";

const TIMEOUT_MS = 2_500;

const { PORT, HOST, TLS_CERT_FILE, TLS_KEY_FILE, TLS_CLIENT_CA_FILE } = process.env;

/** An address that means all of them is reached by the loopback. */
const host = HOST === undefined || ["", "0.0.0.0", "::"].includes(HOST) ? "127.0.0.1" : HOST;

/** @returns {import("node:https").RequestOptions} */
function tlsOptions() {
  if (!TLS_CLIENT_CA_FILE || !TLS_CERT_FILE || !TLS_KEY_FILE) return { rejectUnauthorized: false };
  return { rejectUnauthorized: false, cert: readFileSync(TLS_CERT_FILE), key: readFileSync(TLS_KEY_FILE) };
}

/** @param {string} reason */
function fail(reason) {
  process.stderr.write(`not ready: ${reason}\n`);
  process.exit(1);
}

// Also for an answer that begins and never ends.
setTimeout(() => fail(`no answer within ${TIMEOUT_MS} ms`), TIMEOUT_MS);

try {
  const options = { host, port: PORT, path: "/health/ready", agent: false };
  const request = TLS_CERT_FILE ? requestHttps({ ...options, ...tlsOptions() }) : requestHttp(options);
  request.on("error", (error) => fail(error.message));
  request.on("response", (response) => {
    let body = "";
    response.setEncoding("utf8");
    response.on("data", (text) => (body += text));
    response.on("end", () => {
      if (response.statusCode === 200) process.exit(0);
      fail(`${response.statusCode} ${body.slice(0, 500)}`);
    });
  });
  request.end();
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
