// What a client may write, and, below @ts-expect-error, what the compiler must refuse.
import {
  APIError,
  AuthenticationError,
  IdempotencyError,
  InvalidRequestError,
  PermissionDeniedError,
  RateLimitError,
  ResponseError,
  isKnownError,
  parseError,
  throwIfError,
} from "./errors.js";
import type { Code, ErrorDetails, Field, KnownError, ResponseHeaders } from "./errors.js";

// A switch over all codes needs no default.
export function exhaustive(err: KnownError): string {
  switch (err.code) {
    case "parameter_missing":
    case "parameter_invalid":
    case "resource_missing":
    case "method_not_allowed":
    case "request_too_large":
    case "unsupported_media_type": {
      const narrowed: InvalidRequestError = err;
      // @ts-expect-error it has another class
      const other: RateLimitError = err;
      return `${narrowed.param} ${other.code}`;
    }
    case "authentication_failed": {
      const narrowed: AuthenticationError = err;
      return narrowed.message;
    }
    case "permission_denied": {
      const narrowed: PermissionDeniedError = err;
      return narrowed.message;
    }
    case "idempotency_conflict":
    case "idempotency_in_progress":
    case "idempotency_outcome_unknown":
    case "idempotency_response_unavailable": {
      const narrowed: IdempotencyError = err;
      return narrowed.message;
    }
    case "rate_limit_exceeded": {
      const narrowed: RateLimitError = err;
      const code: "rate_limit_exceeded" = err.code;
      return `${narrowed.retryAfter} ${code}`;
    }
    case "api_error":
    case "service_unavailable":
    case "timeout": {
      const narrowed: APIError = err;
      return narrowed.message;
    }
  }
}

// @ts-expect-error most cases are missing
export function incomplete(err: KnownError): string {
  switch (err.code) {
    case "parameter_missing":
      return "missing";
  }
}

export function byDefault(err: KnownError): string {
  switch (err.code) {
    case "parameter_missing":
      return "missing";
    default: {
      // @ts-expect-error most cases are missing
      const nothing: never = err;
      return nothing;
    }
  }
}

export function byType(err: KnownError): string {
  if (err.type === "rate_limit_error") {
    const narrowed: RateLimitError = err;
    const code: "rate_limit_exceeded" = err.code;
    return `${narrowed.retryAfter} ${code}`;
  }
  return err.message;
}

export function caught(err: unknown): string {
  if (isKnownError(err)) {
    // @ts-expect-error there is no such code
    if (err.code === "parameter_mising") {
      return "";
    }
    const code: Code = err.code;
    // @ts-expect-error nothing of an error can be changed
    err.code = "api_error";
    return code;
  }
  if (err instanceof InvalidRequestError) {
    const type: "invalid_request_error" = err.type;
    // @ts-expect-error a code that is not known here may be undefined
    const code: string = err.code;
    return type + code;
  }
  if (err instanceof ResponseError) {
    // @ts-expect-error nothing of an error can be changed
    err.code = "own";
    const fields: readonly Field[] = err.errors;
    const value: string | undefined = err.metadata["a"]; // with noUncheckedIndexedAccess
    return `${fields[0]?.param} ${value} ${err.requestId} ${err.docUrl} ${err.status + err.retryAfter} ${!err.retryable}`;
  }
  return "";
}

// Classes with the same members are not the same.
// @ts-expect-error the types differ
export const wrong: RateLimitError = new APIError({ message: "m", status: 500 });

// @ts-expect-error there is no such code
export const typo: Code = "parameter_mising";

// An error for a client's own tests.
export const details: ErrorDetails = { message: "m", status: 429, code: "rate_limit_exceeded", retryAfter: 1, retryable: true };
export const made: ResponseError = new RateLimitError(details);

export async function fetched(url: string): Promise<void> {
  await throwIfError(await fetch(url));
}

// The headers of axios have values like these.
type AxiosValue = string | string[] | number | boolean | null | object;
declare const axiosHeaders: Partial<{ [name: string]: AxiosValue } & { "Content-Type": AxiosValue }>;

export function parsed(headers: ResponseHeaders): (ResponseError | undefined)[] {
  return [
    parseError(400, headers, ""),
    parseError(400, new Headers(), ""),
    parseError(400, {}, ""),
    parseError(400, { "Retry-After": "1", "set-cookie": ["a", "b"], other: undefined }, ""),
    parseError(400, axiosHeaders, { error: { code: "parameter_missing" } }),
    // @ts-expect-error await is missing
    parseError(400, headers, new Response().text()),
    // @ts-expect-error await is missing
    parseError(400, headers, new Response().json()),
    // @ts-expect-error its headers are meant
    parseError(400, new Response(), ""),
  ];
}
