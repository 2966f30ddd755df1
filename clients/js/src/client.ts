import { NetworkError, TimeoutError, Transport } from "./transport.js";
import type { CallOptions, ClientOptions, Logger, WriteOptions } from "./transport.js";

export * from "./errors.js";
export { NetworkError, TimeoutError };
export type { CallOptions, ClientOptions, Logger, WriteOptions };

export interface Resource {
  readonly id: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface CreateParams {
  /** 1 to 100 characters. */
  name: string;
  metadata?: Readonly<Record<string, string>> | undefined;
}

/** What is given replaces what the resource has. */
export interface UpdateParams {
  name?: string | undefined;
  metadata?: Readonly<Record<string, string>> | undefined;
}

export interface ListParams {
  /** The resources on a page, 1 to 100. The default is 20. */
  limit?: number | undefined;
  /** The nextCursor of the page before. */
  cursor?: string | undefined;
}

/** Some resources, in the order in which they were created. */
export interface Page {
  readonly data: readonly Resource[];
  /** It is undefined on the last page. */
  readonly nextCursor: string | undefined;
}

/**
 * The client of Docs API. Create it once and share it: it keeps the budget for retries.
 *
 * A call that fails throws a `ResponseError`, such as `InvalidRequestError`, if the service
 * answered. It throws a `NetworkError` if no complete response arrived. If the caller's signal
 * ends the call, it throws the signal's reason.
 */
export class Client {
  readonly resources: Resources;

  constructor(options: ClientOptions) {
    this.resources = new Resources(new Transport(options));
  }
}

export class Resources {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async create(params: CreateParams, options?: WriteOptions): Promise<Resource> {
    return this.#transport.call("POST", "/v1/resources", isResource, options, params);
  }

  async get(id: string, options?: CallOptions): Promise<Resource> {
    return this.#transport.call("GET", pathOf(id), isResource, options);
  }

  async update(id: string, params: UpdateParams, options?: WriteOptions): Promise<Resource> {
    return this.#transport.call("PATCH", pathOf(id), isResource, options, params);
  }

  async delete(id: string, options?: WriteOptions): Promise<void> {
    await this.#transport.call("DELETE", pathOf(id), isDeletion, options);
  }

  /** Lists resources. `await` returns one page. `for await` visits this page and all later ones. */
  list(params: ListParams = {}, options?: CallOptions): Promise<Page> & AsyncIterable<Resource> {
    const first = this.#page(params, options);
    const all = () => this.#all(first, params, options);
    return Object.assign(first, { [Symbol.asyncIterator]: all });
  }

  async *#all(
    page: Promise<Page>,
    params: ListParams,
    options?: CallOptions,
  ): AsyncGenerator<Resource, void> {
    for (;;) {
      const { data, nextCursor } = await page;
      yield* data;
      if (nextCursor === undefined) {
        return;
      }
      page = this.#page({ ...params, cursor: nextCursor }, options);
    }
  }

  async #page(params: ListParams, options?: CallOptions): Promise<Page> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(params)) {
      if (value !== undefined) {
        query.set(name, String(value));
      }
    }
    const path = `/v1/resources?${query}`.replace(/\?$/, "");
    const page = await this.#transport.call("GET", path, isList, options);
    return { data: page.data, nextCursor: page.next_cursor || undefined };
  }
}

/** Returns the path of a resource. It throws if the id would lead to the path of something else. */
function pathOf(id: string): string {
  if (typeof id !== "string" || /^\.{0,2}$/.test(id)) {
    throw new TypeError(`not the id of a resource: ${JSON.stringify(id)}`);
  }
  return `/v1/resources/${encodeURIComponent(id)}`;
}

// A response must have at least these members. Otherwise a proxy may have answered.

function isResource(value: unknown): value is Resource {
  const { id, name, metadata } = members(value);
  return typeof id === "string" && typeof name === "string" && members(metadata) === metadata;
}

function isDeletion(value: unknown): value is { deleted: true } {
  return members(value)["deleted"] === true;
}

function isList(value: unknown): value is { data: Resource[]; next_cursor?: string | null } {
  const { data, next_cursor: cursor } = members(value);
  return Array.isArray(data) && data.every(isResource) && typeof (cursor ?? "") === "string";
}

/** Returns the members of an object. Any other value has none. */
function members(value: unknown): Readonly<Record<string, unknown>> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : {};
}
