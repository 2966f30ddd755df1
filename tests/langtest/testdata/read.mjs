// Reads the responses in a file as the compiled errors.ts does: read.mjs ERRORS.JS VECTORS.JSON
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const errors = await import(pathToFileURL(process.argv[2]));

/** Returns an error as the test compares it. */
function seen(err) {
  if (err === undefined) {
    return null;
  }
  const { type, code, message, param, status, requestId, retryAfter, retryable, docUrl, metadata } = err;
  const json = JSON.parse(JSON.stringify(err));
  if (json.name !== err.name || json.message !== message || json.requestId !== requestId || "stack" in json) {
    throw new Error(`JSON.stringify: ${JSON.stringify(json)}`);
  }
  if (!(err instanceof errors.ResponseError) || !(err instanceof Error) || !(err instanceof errors[err.name])) {
    throw new Error(`not an instance: ${err}`);
  }
  return {
    class: err.name,
    type,
    code: code ?? "",
    message,
    param: param ?? "",
    status,
    request_id: requestId ?? "",
    retry_after: retryAfter,
    retryable,
    doc_url: docUrl ?? "",
    errors: err.errors,
    metadata,
    text: String(err).slice(`${err.name}: `.length),
    known: errors.isKnownError(err),
  };
}

/** Returns the response as fetch has it. It is undefined if fetch refuses its headers or its status. */
function fetched({ status, header }, body) {
  try {
    return new Response(status === 204 || status === 304 ? null : body, { status, headers: header });
  } catch {
    return undefined;
  }
}

const results = [];
for (const vector of JSON.parse(readFileSync(process.argv[3], "utf8"))) {
  const body = Buffer.from(vector.body, "base64");
  const headers = {};
  for (const [name, value] of vector.header) {
    (headers[name.toUpperCase()] ??= []).push(value);
  }
  for (const name in headers) {
    if (headers[name].length === 1) headers[name] = headers[name][0];
  }
  const all = [errors.parseError(vector.status, headers, body.toString("utf8"))].map(seen);
  const response = fetched(vector, body);
  if (response !== undefined) {
    let thrown;
    try {
      await errors.throwIfError(response);
    } catch (err) {
      thrown = err;
    }
    all.push(seen(thrown));
  }
  results.push(all);
}
const output = JSON.stringify(results);
if (/\\ud[89a-f]/.test(output)) {
  throw new Error("a surrogate without partner"); // JSON.stringify escapes it
}
console.log(output);
