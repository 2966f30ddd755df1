import { once } from "node:events";
import http from "node:http";

import { Client } from "docsapi";

export const resource = { id: "res_1", name: "first", metadata: {} };

/** Returns a reply: a function that answers a request. */
export function reply(status, body, headers = {}) {
  return (response) => {
    response.writeHead(status, { "Request-Id": "req_1", ...headers });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  };
}

/** Returns the reply of the service to a request that fails. */
export function failure(status, headers = {}, code = "some_code") {
  const body = { error: { type: "api_error", code, message: "secret body", request_id: "req_1" } };
  return reply(status, body, { "Content-Type": "application/json", ...headers });
}

/** Starts a server that gives the replies in turn, and then always the last one. */
export async function serve(t, ...replies) {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    const { method, url, headers } = request;
    const entry = { method, url, headers, body: "", at: Date.now() };
    const next = replies[Math.min(requests.push(entry), replies.length) - 1];
    for await (const chunk of request) {
      entry.body += chunk;
    }
    next(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  t.after(close);
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    close,
    on: server.on.bind(server),
  };
}

/** Makes a client of a server. The log is an array of what it logs. */
export function connect(server, options = {}) {
  const log = [];
  const logger = { warn: (message, details) => log.push({ message, ...details }) };
  const client = new Client({ apiKey: "sk_secret", baseURL: server.url, logger, ...options });
  return { client, log };
}

/**
 * Gives the client a clock that stands still until advance is called: it then goes to the client's
 * next timer. The waits between attempts pass by themselves, as the logger starts them. All else,
 * such as fetch and the server, has the real timers.
 */
export function virtualTime(t) {
  let now = Date.UTC(2026, 10, 30, 12);
  const timers = new Map();
  const { setTimeout, clearTimeout } = globalThis;
  t.mock.method(Date, "now", () => now);
  t.mock.method(globalThis, "setTimeout", (run, ms, ...args) => {
    if (!new Error().stack.includes("/dist/transport.js")) {
      return setTimeout(run, ms, ...args);
    }
    const timer = {};
    timers.set(timer, { run, at: now + ms });
    return timer;
  });
  t.mock.method(globalThis, "clearTimeout", (timer) => timers.delete(timer) || clearTimeout(timer));
  const clock = {
    timers,
    now: () => now,
    pass: (ms) => (now += ms),
    advance() {
      const [[timer, { run, at }]] = [...timers].sort(([, a], [, b]) => a.at - b.at);
      timers.delete(timer);
      now = Math.max(now, at);
      run();
    },
  };
  clock.connect = (server, options) => {
    const connected = connect(server, options);
    const { log } = connected;
    const push = log.push.bind(log);
    log.push = (entry) => {
      if (entry.delay !== undefined) {
        setImmediate(clock.advance);
      }
      return push(entry);
    };
    return connected;
  };
  return clock;
}

/** Calls then whenever the client has the header of a response, and waits for the body. */
export function onHeader(t, then) {
  const { fetch } = globalThis;
  t.mock.method(globalThis, "fetch", async (...args) => {
    const response = await fetch(...args);
    setImmediate(then);
    return response;
  });
}

/** Returns what a promise is rejected with. */
export async function rejection(promise) {
  const result = await promise.then(
    (value) => ({ value }),
    (reason) => ({ reason }),
  );
  if (!("reason" in result)) {
    throw new Error(`not rejected, but ${JSON.stringify(result.value)}`);
  }
  return result.reason;
}
