import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";

import { APIError, ResponseError } from "docsapi";

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

test("what the API would not send is no success", async (t) => {
  const page = reply(200, "<!doctype html><title>Sign in to the network</title>");
  const rows = [
    ["an HTML page", page],
    [
      "an HTML page that says that it is JSON",
      reply(200, "<html>", { "Content-Type": "application/json" }),
    ],
    ["truncated JSON", reply(201, '{"id":"res_1","name":"fir')],
    ["nothing", reply(200, "")],
    ["status 204", reply(204, "")],
    ["status 304", reply(304, "")],
    ...[
      "null",
      "[]",
      '"id"',
      "1",
      "{}",
      "[".repeat(100_000),
      '{"__proto__":{"id":"res_1","name":"n"}}',
    ].map((text) => {
      return [`the body ${text.slice(0, 50)}`, reply(200, text)];
    }),
    ["an id of another type", reply(200, { ...resource, id: 1, data: {} })],
    ["no name", reply(200, { id: "res_1", metadata: {}, data: [{}] })],
    ["no metadata", reply(200, { id: "res_1", name: "first", data: [null] })],
    ["a list as metadata", reply(200, { ...resource, metadata: ["a"], data: ["a"] })],
    ["a cursor of another type", reply(200, { data: [resource], next_cursor: 1 })],
    ["another status", reply(302, resource)],
    [
      "an error that says that it is none",
      reply(200, { error: { code: "api_error", message: "m" } }),
    ],
  ];
  for (const [name, next] of rows) {
    await t.test(name, async (t) => {
      const server = await serve(t, next);
      const { client, log } = connect(server);
      const { resources } = client;
      const calls = [
        () => resources.create({ name: "first" }),
        () => resources.get("res_1"),
        () => resources.update("res_1", {}),
        () => resources.delete("res_1"),
        () => resources.list(),
      ];
      for (const call of calls) {
        const err = await rejection(call());
        assert.ok(err instanceof APIError, String(err));
        assert.equal(err.requestId, "req_1");
        assert.match(
          err.message,
          /^The server answered with status (2\d\d, but not as the API does|3\d\d, but redirects .*)\.$/,
        );
      }
      assert.equal(server.requests.length, calls.length, "it is not retried");
      assert.equal(log.length, calls.length);
    });
  }
});

test("unknown members of a response do no harm", async (t) => {
  const server = await serve(
    t,
    reply(200, `\ufeff ${JSON.stringify({ ...resource, more: { then: 1 } })}\n`),
  );
  const got = await connect(server).client.resources.get("res_1");
  assert.deepEqual(got, { ...resource, more: { then: 1 } });
});

test("an object is not deleted unless the response says so", async (t) => {
  for (const deleted of [false, undefined, "true"]) {
    const server = await serve(t, reply(200, { ...resource, deleted }));
    const err = await rejection(connect(server).client.resources.delete("res_1"));
    assert.ok(err instanceof APIError);
  }
});

test("a character may arrive in pieces", async (t) => {
  const bytes = Buffer.from(JSON.stringify({ ...resource, name: "名前🎉" }));
  const server = await serve(t, async (response) => {
    for (const byte of bytes) {
      response.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    response.end();
  });
  const got = await connect(server).client.resources.get("res_1");
  assert.equal(got.name, "名前🎉");
});

test("a redirect is not followed", async (t) => {
  const other = await serve(t, reply(200, resource));
  for (const status of [301, 302, 303, 307, 308]) {
    for (const location of [other.url, "/v1/resources/res_2", undefined]) {
      await t.test(`${status} to ${location}`, async (t) => {
        const server = await serve(
          t,
          reply(status, resource, location && { Location: location }),
          reply(200, resource),
        );
        const err = await rejection(connect(server).client.resources.create({ name: "first" }));
        assert.ok(err instanceof APIError);
        assert.equal(err.status, status);
        assert.equal(server.requests.length, 1);
        assert.equal(other.requests.length, 0);
      });
    }
  }
});

test("a response without headers is read", async (t) => {
  const bare = (text) => (response) => response.socket.end(text);
  const server = await serve(
    t,
    bare(`HTTP/1.1 200 \r\n\r\n${JSON.stringify(resource)}`),
    bare("HTTP/1.0 404\r\n\r\n"),
  );
  const { client } = connect(server);
  assert.deepEqual(await client.resources.get("res_1"), resource);
  const err = await rejection(client.resources.get("res_1"));
  assert.ok(err instanceof ResponseError);
  assert.deepEqual([err.status, err.code, err.requestId], [404, undefined, undefined]);
});

test("interim responses are skipped", async (t) => {
  const server = await serve(t, (response) => {
    response.writeProcessing();
    response.writeEarlyHints({ link: "</x>; rel=preload" });
    reply(200, resource)(response);
  });
  assert.deepEqual(await connect(server).client.resources.get("res_1"), resource);
  assert.equal(server.requests.length, 1);
});

/** Sends text until the client hangs up. */
const endless = (status) => (response) => {
  const text = "x".repeat(64 << 10);
  const more = () => {
    while (!response.destroyed && response.write(text));
  };
  response.writeHead(status, { "Request-Id": "req_1" });
  response.on("drain", more);
  more();
};

test("a body without end is cut off", async (t) => {
  for (const status of [200, 400, 404]) {
    await t.test(`${status}`, async (t) => {
      let closed;
      const server = await serve(t, (response) => {
        closed = once(response, "close");
        endless(status)(response);
      });
      const clock = virtualTime(t); // no timer ends the attempt
      const err = await rejection(connect(server).client.resources.get("res_1"));
      assert.equal(err.status, status);
      assert.equal(err.requestId, "req_1");
      assert.equal(clock.timers.size, 0);
      await closed;
    });
  }
});

test("a status counts, even if the body does not arrive in time", async (t) => {
  for (const [status, attempts] of [
    [404, 1],
    [503, 3],
  ]) {
    await t.test(`${status}`, async (t) => {
      const clock = virtualTime(t);
      const server = await serve(t, (response) => {
        response.writeHead(status, { "Request-Id": "req_1" });
        response.write("{");
      });
      onHeader(t, clock.advance);
      const err = await rejection(clock.connect(server).client.resources.get("res_1"));
      assert.ok(err instanceof ResponseError, String(err));
      assert.deepEqual(
        [err.status, err.requestId, err.cause.name],
        [status, "req_1", "TimeoutError"],
      );
      assert.equal(server.requests.length, attempts);
    });
  }
});

test("a long request id is cut", async (t) => {
  const server = await serve(t, reply(200, "", { "Request-Id": "x".repeat(5000) }));
  const { client, log } = connect(server);
  const err = await rejection(client.resources.get("res_1"));
  assert.equal(err.requestId.length, 128);
  assert.equal(log[0].request_id.length, 128);
});

test("connections are used again after failures", async (t) => {
  for (const [name, next] of [
    ["an error", failure(404)],
    ["an HTML page", reply(200, "<html>")],
    ["a redirect", reply(302, "elsewhere", { Location: "/" })],
  ]) {
    await t.test(name, async (t) => {
      let connections = 0;
      const server = await serve(t, next);
      server.on("connection", () => connections++);
      const { client } = connect(server);
      for (let i = 0; i < 20; i++) {
        await rejection(client.resources.get("res_1"));
      }
      assert.ok(connections <= 2, `${connections} connections`);
    });
  }
});
