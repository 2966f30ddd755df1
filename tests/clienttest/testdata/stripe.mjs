// Prints how the SDK of Stripe sees each kind of fault: stripe.mjs URL KIND...
import Stripe from "stripe";

const [url, ...kinds] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const stripe = new Stripe("sk_test_demo", { host: hostname, port, protocol: "http", telemetry: false, maxNetworkRetries: 2 });
const see = async (kind) => {
  const call = kind === "create" ? stripe.rawRequest("POST", "/v1/resources", { name: "" }) : stripe.rawRequest("GET", `/v1/fault/${kind}`);
  const err = await call.catch((reason) => reason);
  const { statusCode, code, param, rawType, requestId } = err;
  return [kind, { class: err.type, status: statusCode, code, param: param ?? "", type: rawType, requestId }];
};
console.log(JSON.stringify(Object.fromEntries(await Promise.all(kinds.map(see)))));
process.exit(); // the SDK keeps connections open whose responses it has not read
