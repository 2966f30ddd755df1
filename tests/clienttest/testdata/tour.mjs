// Uses each method once, and prints what it returns: tour.mjs URL
import { Client, IdempotencyError, PermissionDeniedError, AuthenticationError } from "docsapi";

const [baseURL] = process.argv.slice(2);
const { resources } = new Client({ apiKey: "sk_test_demo", baseURL, logger: null });
const { id, ...created } = await resources.create({ name: "first", metadata: { color: "blue" } });
console.log(created);
console.log((await resources.get(id)).name);
console.log((await resources.update(id, { name: "renamed" })).name);
for (const name of ["b", "c", "d"]) {
  await resources.create({ name }, { idempotencyKey: `order-${name}` });
}
console.log((await resources.create({ name: "d" }, { idempotencyKey: "order-d" })).name, "again");
const conflict = await resources.create({ name: "e" }, { idempotencyKey: "order-d" }).catch((err) => err);
console.log(conflict instanceof IdempotencyError, conflict.code);
const page = await resources.list({ limit: 3 });
console.log(page.data.map(({ name }) => name), typeof page.nextCursor);
const rest = await resources.list({ limit: 3, cursor: page.nextCursor });
console.log(rest.data.map(({ name }) => name), rest.nextCursor);
console.log(await resources.delete(id));
const names = [];
for await (const { name } of resources.list({ limit: 2 })) {
  names.push(name);
}
console.log(names);
for (const [apiKey, kind] of [["sk_test_readonly", PermissionDeniedError], ["sk_test_revoked", AuthenticationError]]) {
  const client = new Client({ apiKey, baseURL, logger: null });
  const err = await client.resources.create({ name: "first" }).catch((reason) => reason);
  console.log(err instanceof kind, err.status);
}
