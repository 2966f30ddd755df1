import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import test from "node:test";

import { APIError, NetworkError, RateLimitError, ResponseError, TimeoutError } from "docsapi";

import {
  connect,
  failure,
  onHeader,
  rejection,
  reply,
  resource,
  serve,
  virtualTime,
} from "./support.js";

const hangUp = (response) => response.socket.destroy();
const created = reply(201, resource);

test("what is retried", async (t) => {
  const rows = [
    ["429", failure(429), 3],
    ["500", failure(500), 3],
    ["502", failure(502), 3],
    ["503", failure(503), 3],
    ["504", failure(504), 3],
    ["599", failure(599), 3],
    ["501, which never heals", failure(501), 1],
    ["600, which is no status", failure(600), 1],
    ["999, which is no status", failure(999), 1],
    ...[400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 425, 499].map((status) => {
      return [`${status}`, failure(status), 1];
    }),
    ["503, but told not to", failure(503, { "X-Should-Retry": "false" }), 1],
    ["429, but told not to", failure(429, { "X-Should-Retry": " False" }), 1],
    [
      "503, but told not to on one of two lines",
      failure(503, { "X-Should-Retry": ["true", "false"] }),
      1,
    ],
    ["404, though told to", failure(404, { "X-Should-Retry": "true" }), 1],
    ["409, though told to", failure(409, { "X-Should-Retry": "true" }), 1],
    ["501, though told to", failure(501, { "X-Should-Retry": "true" }), 1],
    ["an error page of a proxy", reply(502, "<html>Bad Gateway</html>"), 3],
    ["no response", hangUp, 3, NetworkError],
    ["something else than HTTP", (r) => r.socket.end("SSH-2.0-OpenSSH_9\r\n"), 3, NetworkError],
    ["a header that breaks off", (r) => r.socket.end("HTTP/1.1 404 N\r\nA: b\r\n"), 3, NetworkError],
    ["another protocol", (r) => r.socket.end("HTTP/1.1 101 S\r\n\r\n"), 3, NetworkError],
    ["a body that breaks off", breaksOff({ "Content-Length": 1000 }), 3, NetworkError],
    ["a body in pieces that breaks off", breaksOff({}), 3, NetworkError],
    [
      "a body that cannot be unpacked",
      reply(200, "no", { "Content-Encoding": "gzip" }),
      3,
      NetworkError,
    ],
    ["an error whose body breaks off", breaksOff({ "Content-Length": 1000 }, 404), 1],
    ["a body that is no JSON", reply(200, "<html>Welcome</html>"), 1],
  ];
  for (const [name, next, attempts, thrown = ResponseError] of rows) {
    await t.test(name, async (t) => {
      const server = await serve(t, next);
      const clock = virtualTime(t);
      const { client, log } = clock.connect(server);

      const err = await rejection(client.resources.create({ name: "first" }));

      assert.ok(err instanceof thrown, String(err));
      assert.equal(server.requests.length, attempts);
      assert.equal(log.length, attempts);
      assert.equal(clock.timers.size, 0);
    });
  }
});

function breaksOff(headers, status = 200) {
  return (response) => {
    response.writeHead(status, headers);
    response.write('{"id":"res_1",', () => response.socket.destroy());
  };
}

test("a connection that is refused is retried", async (t) => {
  const { url, close } = await serve(t, created);
  close();
  const { client, log } = virtualTime(t).connect({ url });
  const err = await rejection(client.resources.get("res_1"));
  assert.ok(err instanceof NetworkError);
  assert.equal(err.name, "NetworkError");
  assert.equal(err.cause.cause.code, "ECONNREFUSED");
  assert.match(err.message, /ECONNREFUSED 127\.0\.0\.1/);
  assert.equal(log.length, 3);
});

test("a retry that succeeds is a success", async (t) => {
  const server = await serve(t, failure(503), hangUp, created);
  const { client, log } = virtualTime(t).connect(server);
  assert.deepEqual(await client.resources.create({ name: "first" }), resource);
  assert.equal(server.requests.length, 3);
  assert.equal(log.length, 2);
});

test("all attempts of a write are the same request with the same key", async (t) => {
  const writes = {
    POST: (resources, options) => resources.create({ name: "ü", metadata: { a: "b" } }, options),
    PATCH: (resources, options) => resources.update("res_1", { name: "ü" }, options),
    DELETE: (resources, options) => resources.delete("res_1", options),
  };
  for (const [method, write] of Object.entries(writes)) {
    for (const options of [undefined, {}, { idempotencyKey: "order-4711" }]) {
      await t.test(`${method} ${JSON.stringify(options)}`, async (t) => {
        const server = await serve(
          t,
          failure(503),
          hangUp,
          reply(200, { ...resource, deleted: true }),
        );
        const { client } = virtualTime(t).connect(server);
        await write(client.resources, options);

        const key = server.requests[0].headers["idempotency-key"];
        assert.match(key, options?.idempotencyKey ? /^order-4711$/ : /^[0-9a-f]{32}$/);
        assert.equal(server.requests.length, 3);
        for (const request of server.requests) {
          assert.equal(request.method, method);
          assert.equal(request.headers["idempotency-key"], key);
          assert.equal(request.headers.authorization, "Bearer sk_secret");
          assert.equal(request.body, server.requests[0].body);
        }

        await write(client.resources, undefined);
        assert.notEqual(server.requests[3].headers["idempotency-key"], key, "another call");
      });
    }
  }
});

test("reads have no key", async (t) => {
  const server = await serve(t, failure(503), reply(200, { ...resource, data: [] }));
  const { client } = virtualTime(t).connect(server);
  await client.resources.get("res_1", { idempotencyKey: "order-4711" });
  await client.resources.list();
  assert.equal(server.requests.length, 3);
  for (const request of server.requests) {
    assert.equal(request.headers["idempotency-key"], undefined);
  }
});

test("the longest wait doubles up to its limit", async (t) => {
  for (const [random, waits] of [
    [0, Array(9).fill(1)],
    [0.5, [51, 101, 201, 401, 801, 1601, 3201, 5001, 5001]],
    [1 - Number.EPSILON, [101, 201, 401, 801, 1601, 3201, 6401, 10001, 10001]],
  ]) {
    await t.test(`at ${random}`, async (t) => {
      const server = await serve(t, failure(503));
      const clock = virtualTime(t);
      t.mock.method(Math, "random", () => random);
      const { client } = clock.connect(server, { maxAttempts: 10 });
      await rejection(client.resources.get("res_1"));
      assert.deepEqual(gaps(server.requests), waits);
    });
  }
});

const gaps = (requests) => requests.slice(1).map(({ at }, i) => at - requests[i].at);

test("the client waits as long as the service asks", async (t) => {
  const backoff = [0, 101];
  const from = (least) => [least, least + 101];
  const rows = [
    ["seconds", { "Retry-After": "7" }, from(7000)],
    ["the longest wait", { "Retry-After": "120" }, from(120_000)],
    ["too long", { "Retry-After": "121" }, undefined],
    ["much too long", { "Retry-After": "99999999999999999999999" }, undefined],
    ["a date", { "Retry-After": "Mon, 30 Nov 2026 12:00:05 GMT" }, from(5000)],
    ["a date of RFC 850", { "Retry-After": "Monday, 30-Nov-26 12:00:05 GMT" }, from(5000)],
    ["a date of asctime", { "Retry-After": "Mon Nov 30 12:00:05 2026" }, from(5000)],
    ["a date in the far future", { "Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT" }, undefined],
    ["a date in the past", { "Retry-After": "Mon, 30 Nov 2026 11:00:00 GMT" }, backoff],
    ["several lines", { "Retry-After": ["3", "7", "5"] }, from(7000)],
    ["a line with a date", { "Retry-After": ["3", "Mon, 30 Nov 2026 12:00:05 GMT"] }, from(5000)],
    ["zero", { "Retry-After": "0" }, backoff],
    ["no number", { "Retry-After": "soon" }, backoff],
    ["a negative number", { "Retry-After": "-1" }, backoff],
    ["milliseconds within the second", { "Retry-After": "1", "Retry-After-Ms": "10" }, from(10)],
    ["milliseconds of another second", { "Retry-After": "7", "Retry-After-Ms": "10" }, from(7000)],
    [
      "more milliseconds than seconds",
      { "Retry-After": "1", "Retry-After-Ms": "1001" },
      from(1000),
    ],
  ];
  for (const status of [429, 503]) {
    for (const [name, headers, wanted] of rows) {
      await t.test(`${status}, ${name}`, async (t) => {
        const server = await serve(t, failure(status, headers), reply(200, resource));
        const { client } = virtualTime(t).connect(server);
        const call = client.resources.get("res_1");
        if (wanted === undefined) {
          assert.equal((await rejection(call)).status, status);
          assert.equal(server.requests.length, 1);
          return;
        }
        await call;
        const [least, most] = wanted;
        const [wait] = gaps(server.requests);
        assert.ok(least <= wait && wait <= most, `waited ${wait} ms`);
      });
    }
  }
});

test("the client adds little to a wait that the service asks for", async (t) => {
  const server = await serve(t, failure(429, { "Retry-After": "1" }));
  t.mock.method(Math, "random", () => 1 - Number.EPSILON);
  await rejection(virtualTime(t).connect(server).client.resources.get("res_1"));
  assert.deepEqual(gaps(server.requests), [1101, 1101]);
});

test("the client does not start a wait that ends after the call's time", async (t) => {
  for (const [name, headers, totalTimeout, attempts] of [
    ["a wait within the time", { "Retry-After": "7" }, 7200, 2],
    ["a wait beyond the time", { "Retry-After": "7" }, 7000, 1],
    ["no time for a backoff", {}, 1, 1],
  ]) {
    await t.test(name, async (t) => {
      const server = await serve(t, failure(429, headers));
      const clock = virtualTime(t);
      const start = clock.now();
      const { client } = clock.connect(server, { totalTimeout });
      const err = await rejection(client.resources.get("res_1"));
      assert.ok(err instanceof ResponseError);
      assert.equal(server.requests.length, attempts);
      assert.ok(attempts > 1 || clock.now() === start, "it fails immediately");
    });
  }
});

test("the largest number of attempts can be set", async (t) => {
  for (const maxAttempts of [1, 2, 5]) {
    const server = await serve(t, failure(503));
    const { client } = virtualTime(t).connect(server, { maxAttempts });
    await rejection(client.resources.get("res_1"));
    assert.equal(server.requests.length, maxAttempts);
    t.mock.restoreAll();
  }
});

test("retries stay within the budget", async (t) => {
  let next = failure(503);
  const server = await serve(t, (response) => next(response));
  const clock = virtualTime(t);
  t.mock.method(Math, "random", () => 0);
  const { client } = clock.connect(server);
  const requestsOf = async (calls) => {
    const before = server.requests.length;
    for (let i = 0; i < calls; i++) {
      await client.resources.get("res_1").catch(() => {});
    }
    return server.requests.length - before;
  };
  assert.equal(await requestsOf(20), 20 + 10, "the burst");
  assert.equal(await requestsOf(20), 20, "first attempts are never refused");
  clock.pass(30_000);
  assert.equal(await requestsOf(20), 20 + 3, "a tenth of a retry per second");
  next = reply(200, resource);
  assert.equal(await requestsOf(50), 50);
  next = failure(503);
  assert.equal(await requestsOf(20), 20 + 5, "a tenth of the successes");
  next = reply(200, resource);
  assert.equal(await requestsOf(10), 10);
  next = failure(503);
  assert.equal(await requestsOf(20), 20 + 1, "ten tenths are a retry");
  clock.pass(3_600_000);
  assert.equal(await requestsOf(20), 20 + 10, "never more than the burst");
  clock.pass(-3_600_000);
  assert.equal(await requestsOf(1), 1, "the clock was set back");

  const other = clock.connect(server).client;
  const before = server.requests.length;
  await rejection(other.resources.get("res_1"));
  assert.equal(server.requests.length - before, 3, "another client has its own");
});

/** A reply whose body has a beginning and no end. */
const partOf = (status) => (response) => {
  response.writeHead(status);
  response.write("{");
};

test("an attempt that takes too long is a broken one", async (t) => {
  for (const name of ["no header", "a body without end"]) {
    for (const where of ["default", "client", "call"]) {
      await t.test(`${name}, ${where}`, async (t) => {
        const clock = virtualTime(t);
        t.mock.method(Math, "random", () => 0);
        const closed = [];
        const server = await serve(t, (response) => {
          closed.push(once(response, "close"));
          name === "no header" ? clock.advance() : partOf(200)(response);
        });
        onHeader(t, clock.advance);
        const { client } = clock.connect(server, where === "client" ? { timeout: 5000 } : {});
        const options = where === "call" ? { timeout: 5000 } : {};
        const err = await rejection(client.resources.get("res_1", options));
        assert.ok(err instanceof TimeoutError && err instanceof NetworkError, String(err));
        assert.equal(err.name, "TimeoutError");
        const wait = where === "default" ? 30_001 : 5001;
        assert.deepEqual(gaps(server.requests), [wait, wait]);
        await Promise.all(closed);
      });
    }
  }
});

test("a call that takes too long ends", async (t) => {
  const clock = virtualTime(t);
  const start = clock.now();
  const server = await serve(t, () => clock.advance());
  const { client } = clock.connect(server, { totalTimeout: 5000 });
  const err = await rejection(client.resources.get("res_1"));
  assert.ok(err instanceof TimeoutError);
  assert.equal(server.requests.length, 1);
  assert.equal(clock.now() - start, 5000);
});

test("the signal ends the call", async (t) => {
  const later = failure(503, { "Retry-After": "60" });
  const rows = [
    ["before the request", { reply: later, now: true, sent: 0 }],
    ["before the header", { reply: (_, abort) => abort() }],
    ["before the end of the body", { reply: partOf(200), onHeader: true }],
    ["before the end of the body of an error", { reply: partOf(503), onHeader: true }],
    ["as the failure is logged", { reply: later, onLog: (abort) => abort() }],
    ["during the wait for a retry", { reply: later, onLog: (abort) => setImmediate(abort) }],
  ];
  for (const [name, row] of rows) {
    await t.test(name, async (t) => {
      const controller = new AbortController();
      const reason = new Error("the user has left");
      const abort = () => controller.abort(reason);
      const closed = [];
      const server = await serve(t, (response) => {
        closed.push(once(response, "close"));
        row.reply(response, abort);
      });
      const clock = virtualTime(t);
      const { client, log } = connect(server);
      let lines = 0;
      log.push = () => {
        lines++;
        row.onLog?.(abort);
      };
      if (row.onHeader) {
        onHeader(t, abort);
      }
      if (row.now) {
        abort();
      }

      const err = await rejection(client.resources.get("res_1", { signal: controller.signal }));

      assert.equal(err, reason);
      assert.equal(server.requests.length, row.sent ?? 1);
      assert.equal(lines, row.onLog ? 1 : 0, "that the user leaves is no failure");
      assert.equal(clock.timers.size, 0);
      await Promise.all(closed);
    });
  }
});

test("calls leave no timer, and one listener at their signal", async (t) => {
  const server = await serve(t, failure(503), reply(200, resource));
  const clock = virtualTime(t);
  const { client } = clock.connect(server);
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i++) {
    await client.resources.get("res_1", { signal });
  }
  assert.equal(getEventListeners(signal, "abort").length, 1);
  assert.equal(clock.timers.size, 0);
});

test("a signal ends many calls, and Node.js does not warn", async (t) => {
  const warn = t.mock.method(process, "emitWarning", () => {});
  const controller = new AbortController();
  const reason = new Error("the user has left");
  let left = 30;
  const server = await serve(t, () => --left || controller.abort(reason));
  const { client } = connect(server);
  const call = () => client.resources.get("res_1", { signal: controller.signal });
  const errors = await Promise.all(Array.from({ length: left }, () => rejection(call())));
  assert.deepEqual(new Set(errors), new Set([reason]));
  assert.equal(warn.mock.callCount(), 0);
});

test("every failure is logged with its request id", async (t) => {
  const server = await serve(
    t,
    failure(503, { "Retry-After": "1" }),
    hangUp,
    failure(429, {}, "x".repeat(1000)),
  );
  const clock = virtualTime(t);
  t.mock.method(Math, "random", () => 0);
  const { client, log } = clock.connect(server);
  const key = "key_secret";
  const err = await rejection(
    client.resources.create({ name: "secret name" }, { idempotencyKey: key }),
  );
  assert.ok(err instanceof APIError);
  const request = { method: "POST", host: new URL(server.url).host };
  assert.deepEqual(
    [...log],
    [
      {
        message: "docsapi: retrying request",
        ...request,
        attempt: 1,
        status: 503,
        code: "some_code",
        request_id: "req_1",
        delay: 1001,
      },
      {
        message: "docsapi: retrying request",
        ...request,
        attempt: 2,
        error: "No complete response arrived: other side closed",
        delay: 1,
      },
      {
        message: "docsapi: request failed",
        ...request,
        attempt: 3,
        status: 429,
        code: "x".repeat(64),
        request_id: "req_1",
      },
    ],
  );
  assert.doesNotMatch(JSON.stringify(log), /secret/);
});

test("a log has no part of a page that a proxy sent", async (t) => {
  const server = await serve(t, reply(429, "<html>secret</html>", { "X-Should-Retry": "false" }));
  const { client, log } = connect(server);
  const err = await rejection(client.resources.get("res_1"));
  assert.ok(err instanceof RateLimitError);
  assert.match(err.message, /secret/);
  assert.doesNotMatch(JSON.stringify(log), /secret/);
  assert.equal(log[0].code, "rate_limit_error");
});

test("failures are logged to the console by default", async (t) => {
  const server = await serve(t, failure(404));
  const warn = t.mock.method(console, "warn", () => {});
  await rejection(connect(server, { logger: undefined }).client.resources.get("res_1"));
  assert.equal(warn.mock.callCount(), 1);
  await rejection(connect(server, { logger: null }).client.resources.get("res_1"));
  assert.equal(warn.mock.callCount(), 1);
});
