// Prints how the client sees each kind of fault: faults.mjs URL KIND...
import { Client } from "docsapi";

const [baseURL, ...kinds] = process.argv.slice(2);
const see = async (kind) => {
  const client = new Client({ apiKey: "sk_test_demo", baseURL, logger: null });
  const err = await client.resources.get(`fault_${kind}`).catch((reason) => reason);
  const { name, status, code, type, requestId, docUrl, retryable } = err;
  return [kind, { class: name, status, code, type, requestId, docUrl, retryable }];
};
console.log(JSON.stringify(Object.fromEntries(await Promise.all(kinds.map(see)))));
