// Creates a resource with the SDK of Stripe, and prints how many there are then: stripe_create.mjs URL
import Stripe from "stripe";

const { hostname, port } = new URL(process.argv[2]);
const stripe = new Stripe("sk_test_demo", { host: hostname, port, protocol: "http", telemetry: false });
const created = await stripe.rawRequest("POST", "/v1/resources", { name: "first", metadata: { color: "blue" } });
const { data } = await stripe.rawRequest("GET", "/v1/resources");
console.log(created.name, created.metadata.color, data.length);
