// Creates a resource with the SDK of OpenAI, and prints how many there are then: openai_create.mjs URL [KEY]
import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const client = new OpenAI({ apiKey: "sk_test_demo", baseURL: `${url}/v1`, logLevel: "off" });
const headers = key === undefined ? {} : { "Idempotency-Key": key };
const created = await client.post("/resources", { body: { name: "first" }, headers });
const { data } = await client.get("/resources");
console.log(created.name, data.length);
