// Creates resources at the same time, and prints what came of it: create.mjs URL NAME...
import { Client } from "docsapi";

const [baseURL, ...names] = process.argv.slice(2);
const failures = []; // of attempts
const logger = { warn: (_, details) => failures.push(details.code ?? "no response") };
const client = new Client({ apiKey: "sk_test_demo", baseURL, logger });
const created = {}; // ids
const denied = {}; // codes
const create = (name) =>
  client.resources.create({ name }).then(
    ({ id }) => (created[name] = id),
    ({ code }) => (denied[name] = code),
  );
await Promise.all(names.map(create));
const listed = {};
const reader = new Client({ apiKey: "sk_test_demo", baseURL, logger: null });
for await (const { id, name } of reader.resources.list({ limit: 100 })) {
  listed[name] = id;
}
console.log(JSON.stringify({ created, denied, listed, failures }));
