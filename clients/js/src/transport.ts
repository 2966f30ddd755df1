import { APIError, ResponseError, throwIfError } from "./errors.js";

export interface ClientOptions {
  /** It is sent in the Authorization header, and appears nowhere else. */
  apiKey: string;
  /** The default is `http://localhost:8080`. */
  baseURL?: string | undefined;
  /** How often a request is sent at most, including the first time. The default is 3. */
  maxAttempts?: number | undefined;
  /** The milliseconds for each attempt, until the whole body has arrived. The default is 30,000. */
  timeout?: number | undefined;
  /** The milliseconds for a call with all its attempts. The default is no limit. */
  totalTimeout?: number | undefined;
  /** It gets a line for each failed attempt. The default is `console`. If null, there is none. */
  logger?: Logger | null | undefined;
}

export interface Logger {
  /** The details have neither the API key, nor an idempotency key, nor a part of a body. */
  warn(message: string, details: Readonly<Record<string, unknown>>): void;
}

export interface CallOptions {
  /** Ends the call, which then throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Replaces the client's timeout. */
  timeout?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  /**
   * The service carries out a write once per key, and answers a retry with the first result. By
   * default, each call makes a new key. If you repeat a call, give both the same key.
   */
  idempotencyKey?: string | undefined;
}

/** No complete response arrived. The cause says why. A write may have been carried out. */
export class NetworkError extends Error {
  /** Whether a retry may succeed. It is false if Node.js does not trust the certificate. */
  readonly retryable: boolean;

  static {
    this.prototype.name = "NetworkError";
  }

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.retryable = !/CERT|SIGNATURE/.test(String(Object(innermost(this)).code));
  }
}

/** The response took too long. */
export class TimeoutError extends NetworkError {
  static {
    this.prototype.name = "TimeoutError";
  }
}

const baseDelay = 100; // milliseconds, as all below
const maxDelay = 10_000;
const maxRetryAfter = 120_000;

const maxBody = 32 << 20; // characters
const maxErrorBody = 64 << 10; // what errors.ts examines

/** Reports whether the JSON in a body is what the method returns. */
type Check<T> = (value: unknown) => value is T;

/** Sends the requests of a client, and sends them again where that is right. */
export class Transport {
  readonly #url: URL;
  readonly #authorization: string;
  readonly #maxAttempts: number;
  readonly #timeout: number;
  readonly #totalTimeout: number;
  readonly #logger: Logger | null;
  readonly #budget = new Budget();

  constructor(options: ClientOptions) {
    const {
      apiKey,
      baseURL = "http://localhost:8080",
      maxAttempts = 3,
      logger = console,
    } = options;
    this.#url = new URL(baseURL);
    const { protocol, username, password, search, hash } = this.#url;
    if (!/^https?:$/.test(protocol) || username || password || search || hash) {
      throw new TypeError("baseURL must be an http or https URL without user, query and fragment");
    }
    if (typeof apiKey !== "string" || !/^[!-~]+$/.test(apiKey)) {
      throw new TypeError("apiKey must consist of visible ASCII characters");
    }
    this.#authorization = `Bearer ${apiKey}`;
    this.#maxAttempts = atLeastOne("maxAttempts", maxAttempts);
    this.#timeout = atLeastOne("timeout", options.timeout ?? 30_000);
    this.#totalTimeout = atLeastOne("totalTimeout", options.totalTimeout ?? Infinity);
    this.#logger = logger;
  }

  /** Sends a request, and returns the JSON in the response. */
  async call<T>(
    method: string,
    path: string,
    check: Check<T>,
    options: WriteOptions = {},
    params?: object,
  ): Promise<T> {
    const { signal } = options;
    const timeout = atLeastOne("timeout", options.timeout ?? this.#timeout);
    const deadline = Date.now() + this.#totalTimeout;
    const url = this.#url.origin + this.#url.pathname.replace(/\/+$/, "") + path;
    const headers: Record<string, string> = {
      Accept: "application/json",
      Authorization: this.#authorization,
    };
    const init: RequestInit = { method, headers, redirect: "manual" };
    if (params !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(params);
    }
    if (method !== "GET") {
      headers["Idempotency-Key"] = keyOf(options);
    }
    for (let attempt = 1; ; attempt++) {
      try {
        const limit = Math.min(timeout, Math.max(deadline - Date.now(), 1)); // a timer may be late
        const send = (ends: AbortSignal) => exchange(url, { ...init, signal: ends }, check);
        const body = await within(limit, signal, send);
        this.#budget.succeeded();
        return body;
      } catch (reason) {
        signal?.throwIfAborted();
        const err = failureOf(reason);
        const delay = this.#delay(err, attempt, deadline);
        this.#log(err, { method, host: this.#url.host, attempt }, delay);
        if (delay === undefined) {
          throw err;
        }
        await sleep(delay, signal);
      }
    }
  }

  /** Returns the milliseconds to wait before the next attempt. It is undefined if there is none. */
  #delay(err: Failure, attempt: number, deadline: number): number | undefined {
    const asked = err instanceof ResponseError ? err.retryAfter * 1000 : 0;
    const longest = asked > 0 ? baseDelay : Math.min(baseDelay * 2 ** (attempt - 1), maxDelay);
    const delay = Math.ceil(asked + Math.random() * longest) + 1; // a timer may be that early
    if (!err.retryable || attempt >= this.#maxAttempts || asked > maxRetryAfter) {
      return undefined;
    }
    return Date.now() + delay < deadline && this.#budget.take() ? delay : undefined;
  }

  /** Logs a failure, but not the message in a response: it may quote the body. */
  #log(err: Failure, request: object, delay: number | undefined): void {
    let what: object = { error: err.message };
    if (err instanceof ResponseError) {
      const code = (err.code ?? err.type).slice(0, 64);
      what = { status: err.status, code, request_id: err.requestId };
    }
    if (delay === undefined) {
      this.#logger?.warn("docsapi: request failed", { ...request, ...what });
    } else {
      this.#logger?.warn("docsapi: retrying request", { ...request, ...what, delay });
    }
  }
}

/**
 * Bounds the load that retries add, so that they do not make an outage worse. A retry takes a
 * token. A success adds a tenth of a token, and so does every second. There are at most ten.
 */
class Budget {
  #tokens = 10;
  #at = Date.now();

  take(): boolean {
    const now = Date.now();
    this.#add(Math.max(now - this.#at, 0) / 10_000);
    this.#at = now;
    const rounding = 1e-9; // ten tenths are a little less than one
    if (this.#tokens < 1 - rounding) {
      return false;
    }
    this.#tokens = Math.max(this.#tokens - 1, 0);
    return true;
  }

  succeeded(): void {
    this.#add(0.1);
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(this.#tokens + tokens, 10);
  }
}

function atLeastOne(name: string, value: number): number {
  if (!(value >= 1)) {
    throw new RangeError(`${name} must be at least 1`);
  }
  return value;
}

function keyOf({ idempotencyKey }: WriteOptions): string {
  if (idempotencyKey === undefined) {
    const random = crypto.getRandomValues(new Uint32Array(4)); // a page from http has no randomUUID
    return Array.from(random, (n) => n.toString(16).padStart(8, "0")).join("");
  }
  if (typeof idempotencyKey !== "string" || !/^[!-~]{1,255}$/.test(idempotencyKey)) {
    throw new TypeError("idempotencyKey must have 1 to 255 visible ASCII characters");
  }
  return idempotencyKey;
}

async function exchange<T>(url: string, init: RequestInit, check: Check<T>): Promise<T> {
  const response = await fetch(url, init);
  const { status, headers } = response;
  await throwIfError({ status, headers, text: () => read(response, maxErrorBody) });
  const body = parse(await read(response, maxBody));
  if (response.ok && check(body)) {
    return body;
  }
  const why = response.ok ? "not as the API does" : "redirects are not followed";
  const message = `The server answered with status ${status}, but ${why}.`;
  throw new APIError({ message, status, requestId: headers.get("Request-Id")?.slice(0, 128) });
}

/** Reads a body, at most up to a number of characters: it may have no end. */
async function read(response: Response, limit: number): Promise<string> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (reader !== undefined && text.length < limit) {
    const { done, value } = await reader.read();
    if (done) {
      return text + decoder.decode();
    }
    text += decoder.decode(value, { stream: true });
  }
  await reader?.cancel();
  return text;
}

/** Returns the JSON in a text. It is undefined if there is none. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

type Failure = ResponseError | NetworkError;

/** Returns what a call throws for a failed attempt. */
function failureOf(reason: unknown): Failure {
  if (reason instanceof ResponseError || reason instanceof NetworkError) {
    return reason;
  }
  const { message, code, name } = Object(innermost(reason));
  const why = message || code || name || reason; // several addresses failed, if there is no message
  return new NetworkError(`No complete response arrived: ${why}`, { cause: reason });
}

/** Returns the innermost cause, since fetch itself says only that it failed. */
function innermost(err: unknown): unknown {
  return err instanceof Error && err.cause !== undefined ? innermost(err.cause) : err;
}

const maxTimer = 2 ** 31 - 1; // a timer with more milliseconds fires immediately

/** Runs work with a signal that is aborted when the caller's is, and when the time is over. */
async function within<T>(
  ms: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const expire = () =>
    controller.abort(new TimeoutError(`No complete response arrived within ${ms} ms.`));
  const timer = setTimeout(expire, Math.min(ms, maxTimer));
  const followers = signal && followersOf(signal).add(controller);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    followers?.delete(controller);
  }
}

const followers = new WeakMap<AbortSignal, Set<AbortController>>();

/**
 * Returns the controllers that are aborted when the signal is. The signal has one listener for all
 * of them: Node.js warns of a leak when a signal has more than ten.
 */
function followersOf(signal: AbortSignal): Set<AbortController> {
  const known = followers.get(signal);
  if (known !== undefined) {
    return known;
  }
  const all = new Set<AbortController>();
  const abort = () => all.forEach((controller) => controller.abort(signal.reason));
  signal.addEventListener("abort", abort, { once: true });
  followers.set(signal, all);
  return all;
}

/** Waits. If the signal is aborted, it throws the signal's reason immediately. */
async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await within(ms, signal, (ends) => new Promise((over) => ends.addEventListener("abort", over)));
  signal?.throwIfAborted();
}
