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

/** Reports whether a package that parses JSON makes an error object of a body. */
function isErrorObject(text) {
  try {
    const { code } = JSON.parse(text).error;
    return typeof code === "string" && code !== "" && text.length < 64 << 10;
  } catch {
    return false;
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
  const text = body.toString("utf8");
  const all = [seen(errors.parseError(vector.status, headers, text))];
  if (isErrorObject(text)) {
    const nulls = { "REQUEST-ID": null, "RETRY-AFTER": undefined, ...headers };
    all.push(seen(errors.parseError(vector.status, nulls, JSON.parse(text))));
  }
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
console.log(
  JSON.stringify(results, (name, value) => {
    if (!name.isWellFormed() || (typeof value === "string" && !value.isWellFormed())) {
      throw new Error("a surrogate without partner");
    }
    return value;
  }),
);
