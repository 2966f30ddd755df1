// Prints how the SDK of OpenAI sees each kind of fault: openai.mjs URL KIND...
import OpenAI from "openai";

const [url, ...kinds] = process.argv.slice(2);
const client = new OpenAI({ apiKey: "sk_test_demo", baseURL: `${url}/v1`, logLevel: "off" });
const see = async (kind) => {
  const call = kind === "create" ? client.post("/resources", { body: { name: "" } }) : client.get(`/fault/${kind}`);
  const err = await call.catch((reason) => reason);
  const { status, code, param, type, requestID } = err;
  return [kind, { class: err.constructor.name, status, code, param: param ?? "", type, requestId: requestID }];
};
console.log(JSON.stringify(Object.fromEntries(await Promise.all(kinds.map(see)))));
