// What a client without fetch may write in Node.js.
import type { IncomingMessage } from "node:http";
import { parseError } from "./errors.js";
import type { ResponseError } from "./errors.js";

export function read(response: IncomingMessage, body: string): ResponseError | undefined {
  return parseError(response.statusCode ?? 0, response.headers, body);
}
