import { Client, InvalidRequestError, NetworkError, ResponseError, TimeoutError, isKnownError } from "docsapi";
import type { CallOptions, ClientOptions, Code, Logger, Page, Resource, WriteOptions } from "docsapi";

const logger: Logger = { warn: (message: string, details: object) => console.warn(message, details) };
const options: ClientOptions = { apiKey: "k", baseURL: "http://localhost:8080", maxAttempts: 3, timeout: 1, totalTimeout: 2, logger };
export const clients: Client[] = [new Client(options), new Client({ apiKey: "k", logger: null }), new Client({ apiKey: "k", logger: console })];

export async function use({ resources }: Client, signal: AbortSignal | undefined): Promise<void> {
  const call: CallOptions = { signal, timeout: 1 };
  const write: WriteOptions = { ...call, idempotencyKey: "order-4711" };
  const resource: Resource = await resources.create({ name: "first", metadata: { color: "blue" } }, write);
  const color: string | undefined = resource.metadata["color"];
  const updated: Resource = await resources.update(resource.id, { name: color }, write);
  const nothing: void = await resources.delete(updated.id, write);
  const page: Page = await resources.list({ limit: 2, cursor: undefined }, call);
  const cursor: string | undefined = page.nextCursor;
  for await (const { id, name } of resources.list({ cursor })) {
    const texts: [string, string] = [id, name];
    void texts;
  }
  resources.list().catch(() => nothing);

  // @ts-expect-error there is no client without a key
  new Client({});
  // @ts-expect-error a name is required
  void resources.create({ metadata: {} });
  // @ts-expect-error metadata has texts
  void resources.create({ name: "first", metadata: { size: 1 } });
  // @ts-expect-error a read has no key
  void resources.get("res_1", { idempotencyKey: "order-4711" });
  // @ts-expect-error resources do not change here
  resource.name = "other";
}

export function handle(err: unknown): string {
  if (err instanceof TimeoutError || err instanceof NetworkError) {
    const retryable: boolean = err.retryable;
    return `${err.message}, ${retryable}`;
  }
  if (err instanceof InvalidRequestError) {
    const type: "invalid_request_error" = err.type;
    return type;
  }
  if (isKnownError(err)) {
    const code: Code = err.code;
    return code;
  }
  return err instanceof ResponseError ? (err.requestId ?? "") : String(err);
}
