import assert from "node:assert/strict";
import { inspect } from "node:util";
import test from "node:test";

import { Client, InvalidRequestError, isKnownError } from "docsapi";

import { connect, failure, rejection, reply, resource, serve } from "./support.js";

test("each method sends its request", async (t) => {
  const page = { data: [resource], next_cursor: "cur_2" };
  const rows = [
    [
      (r) => r.create({ name: "first", metadata: { color: "blue" } }),
      ["POST", "/v1/resources", '{"name":"first","metadata":{"color":"blue"}}'],
      [201, resource],
      resource,
    ],
    [(r) => r.get("res_1"), ["GET", "/v1/resources/res_1", ""], [200, resource], resource],
    [
      (r) => r.get("a/b?c#d %ü"),
      ["GET", "/v1/resources/a%2Fb%3Fc%23d%20%25%C3%BC", ""],
      [200, resource],
      resource,
    ],
    [
      (r) => r.update("res_1", {}),
      ["PATCH", "/v1/resources/res_1", "{}"],
      [200, resource],
      resource,
    ],
    [
      (r) => r.update("res_1", { name: "x", metadata: undefined }),
      ["PATCH", "/v1/resources/res_1", '{"name":"x"}'],
      [200, resource],
      resource,
    ],
    [
      (r) => r.delete("res_1"),
      ["DELETE", "/v1/resources/res_1", ""],
      [200, { id: "res_1", deleted: true }],
      undefined,
    ],
    [
      (r) => r.list(),
      ["GET", "/v1/resources", ""],
      [200, page],
      { data: [resource], nextCursor: "cur_2" },
    ],
    [
      (r) => r.list({ limit: 2, cursor: "a&b" }),
      ["GET", "/v1/resources?limit=2&cursor=a%26b", ""],
      [200, { data: [] }],
      { data: [], nextCursor: undefined },
    ],
  ];
  for (const [call, sent, answer, result] of rows) {
    await t.test(sent.join(" "), async (t) => {
      const server = await serve(t, reply(...answer));
      const got = await call(connect(server).client.resources);
      const [{ method, url, body, headers }] = server.requests;
      assert.deepEqual([method, url, body], sent);
      assert.deepEqual(got && { ...got }, result);
      assert.equal(headers.authorization, "Bearer sk_secret");
      assert.equal(headers.accept, "application/json");
      assert.equal(headers["content-type"], body === "" ? undefined : "application/json");
    });
  }
});

test("a list goes through all pages", async (t) => {
  const page = (next, ...ids) => {
    return reply(200, { data: ids.map((id) => ({ ...resource, id })), next_cursor: next });
  };
  const server = await serve(
    t,
    page("cur_1", "a", "b"),
    page("cur_2"),
    page("cur_3", "c"),
    page(null, "d"),
  );
  const { client } = connect(server);
  const list = client.resources.list({ limit: 2 });
  const ids = [];
  for await (const { id } of list) {
    ids.push(id);
  }
  assert.deepEqual(ids, ["a", "b", "c", "d"]);
  assert.deepEqual(
    server.requests.map(({ url }) => url.slice("/v1/resources".length)),
    ["?limit=2", "?limit=2&cursor=cur_1", "?limit=2&cursor=cur_2", "?limit=2&cursor=cur_3"],
  );
  assert.equal((await list).data.length, 2, "it is also its first page");
});

test("a list asks only for the pages that it needs", async (t) => {
  const server = await serve(t, reply(200, { data: [resource, resource], next_cursor: "cur_1" }));
  for await (const _ of connect(server).client.resources.list()) {
    break;
  }
  assert.equal(server.requests.length, 1);
});

test("a list fails at the page that fails", async (t) => {
  const server = await serve(
    t,
    reply(200, { data: [resource], next_cursor: "cur_1" }),
    failure(404),
  );
  const seen = [];
  const err = await rejection(
    (async () => {
      for await (const each of connect(server).client.resources.list()) {
        seen.push(each);
      }
    })(),
  );
  assert.equal(err.status, 404);
  assert.equal(seen.length, 1);
});

test("the signal ends a list", async (t) => {
  const controller = new AbortController();
  const server = await serve(t, reply(200, { data: [resource], next_cursor: "cur_1" }));
  const list = connect(server).client.resources.list({}, { signal: controller.signal });
  const iterator = list[Symbol.asyncIterator]();
  await iterator.next();
  controller.abort();
  assert.equal((await rejection(iterator.next())).name, "AbortError");
  assert.equal(server.requests.length, 1);
});

test("an error has what the service said", async (t) => {
  const error = {
    type: "invalid_request_error",
    code: "parameter_missing",
    message: "m",
    param: "name",
    request_id: "req_b",
  };
  const server = await serve(t, reply(400, { error }));
  const err = await rejection(connect(server).client.resources.create({ name: "" }));
  assert.ok(err instanceof InvalidRequestError && isKnownError(err));
  assert.equal(
    String(err),
    "InvalidRequestError: 400 parameter_missing: m (param name, request req_1)",
  );
});

test("the address may have a path", async (t) => {
  const server = await serve(t, reply(200, resource));
  for (const [suffix, path] of [
    ["/", ""],
    ["/docs", "/docs"],
    ["/docs//", "/docs"],
  ]) {
    await connect({ url: server.url + suffix }).client.resources.get("res_1");
    assert.equal(server.requests.at(-1).url, `${path}/v1/resources/res_1`);
  }
});

test("the client refuses options that cannot work, without showing secrets", () => {
  for (const options of [
    undefined,
    {},
    { apiKey: "" },
    { apiKey: "secret\n" },
    { apiKey: "secret ü" },
    { apiKey: null },
    ...[
      "",
      "secret",
      "ftp://host",
      "http://user:secret@host",
      "http://host?secret",
      "http://host#secret",
    ].map((baseURL) => {
      return { apiKey: "k", baseURL };
    }),
    ...[0, -1, NaN, "many"].map((maxAttempts) => ({ apiKey: "k", maxAttempts })),
    { apiKey: "k", timeout: -1 },
    { apiKey: "k", timeout: 0 },
    { apiKey: "k", timeout: NaN },
    { apiKey: "k", totalTimeout: -1 },
  ]) {
    assert.throws(
      () => new Client(options),
      (err) => /TypeError|RangeError/.test(err.name) && !/secret/.test(err.message),
    );
  }
});

test("a call refuses arguments that cannot work, and sends nothing", async (t) => {
  const server = await serve(t, reply(200, resource));
  const { resources } = connect(server).client;
  for (const call of [
    ...["", ".", "..", undefined, 7].flatMap((id) => [
      () => resources.get(id),
      () => resources.delete(id),
    ]),
    ...["", "a b", "a\n", "ü", "x".repeat(256), 7, null].map((idempotencyKey) => {
      return () => resources.delete("res_1", { idempotencyKey });
    }),
    () => resources.get("res_1", { timeout: -1 }),
    () => resources.list({}, { timeout: NaN }),
    () => resources.create({ name: 1n }),
  ]) {
    assert.match((await rejection(call())).name, /TypeError|RangeError/);
  }
  assert.equal(server.requests.length, 0);
});

test("the API key is not shown with the client", () => {
  const client = new Client({ apiKey: "sk_secret" });
  assert.doesNotMatch(
    inspect(client, { depth: 9, showHidden: true }) + JSON.stringify(client),
    /secret/,
  );
});
