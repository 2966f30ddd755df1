package apierror

// builtin is the catalog of the specification (the first eight) and of the codes that Seawall
// adds. It is never written to.
var builtin = newBuiltin([]Definition{
	{Code: CodeParameterMissing, Type: TypeInvalidRequest, Status: 400,
		Message:     "A required parameter is missing.",
		Description: "A required parameter was not supplied.",
		Resolution:  "Add the missing parameter. The member param names it."},
	{Code: CodeParameterInvalid, Type: TypeInvalidRequest, Status: 400,
		Message:     "A parameter has the wrong type or value.",
		Description: "A parameter had the wrong type or value.",
		Resolution:  "Correct the parameter. The member param names it, and the message says what is expected."},
	{Code: CodeResourceMissing, Type: TypeInvalidRequest, Status: 404,
		Message:     "The requested resource does not exist.",
		Description: "No object exists with the given ID.",
		Resolution:  "Check the ID and the path. The object may have been deleted, or it may belong to another account."},
	{Code: CodeAuthenticationFailed, Type: TypeAuthentication, Status: 401,
		Message:     "No valid API key was provided.",
		Description: "The API key is missing, malformed, or revoked.",
		Resolution:  "Check that the request carries a valid API key in the Authorization header."},
	{Code: CodePermissionDenied, Type: TypePermission, Status: 403,
		Message:     "The API key lacks permission for this resource.",
		Description: "The key is valid but lacks the required scope.",
		Resolution:  "Use a key that has the scope, or add the scope to this key."},
	{Code: CodeIdempotencyConflict, Type: TypeIdempotency, Status: 409,
		Message:     "The idempotency key was already used with a different request.",
		Description: "An idempotency key was reused with a different body.",
		Resolution:  "Use a new idempotency key for a different request. To retry, send exactly the same request again."},
	{Code: CodeRateLimitExceeded, Type: TypeRateLimit, Status: 429,
		Message:     "Too many requests: the rate limit was hit.",
		Description: "Too many requests in a short window.",
		Resolution:  "Wait for as long as the Retry-After header says, then retry. Spread requests over time."},
	{Code: CodeAPIError, Type: TypeAPI, Status: 500,
		Message:     "An unexpected error occurred on our side.",
		Description: "An unexpected error occurred on our side.",
		Resolution:  "Retry with exponential backoff. Retry writes only with an idempotency key. If the error persists, contact support with the request_id."},

	{Code: CodeMethodNotAllowed, Type: TypeInvalidRequest, Status: 405,
		Message:     "The resource does not support this method.",
		Description: "The path exists, the method does not.",
		Resolution:  "Use one of the methods in the Allow header."},
	{Code: CodeRequestTooLarge, Type: TypeInvalidRequest, Status: 413,
		Message:     "The request body is too large.",
		Description: "The body is over the limit.",
		Resolution:  "Send a smaller body, or split the request."},
	{Code: CodeUnsupportedMediaType, Type: TypeInvalidRequest, Status: 415,
		Message:     "The request body is of an unsupported media type.",
		Description: "The body is not of a type that the route reads.",
		Resolution:  "Set the Content-Type header to the type of the body, usually application/json."},
	{Code: CodeIdempotencyInProgress, Type: TypeIdempotency, Status: 429,
		Message:     "The first request with this idempotency key is still running.",
		Description: "The first request with this key is still running after the wait.",
		Resolution:  "Wait for as long as the Retry-After header says, then retry with the same idempotency key."},
	{Code: CodeIdempotencyOutcomeUnknown, Type: TypeIdempotency, Status: 409,
		Message:     "The first request with this idempotency key failed halfway: it may or may not have taken effect.",
		Description: "The first request failed after its point of no return.",
		Resolution:  "Find out whether the first request took effect before you send it again with a new idempotency key."},
	{Code: CodeIdempotencyResponseUnavailable, Type: TypeIdempotency, Status: 409,
		Message:     "The first request with this idempotency key was carried out, but its response was not kept.",
		Description: "The first request ran, but its response was too large to keep, or was streamed.",
		Resolution:  "Do not send the request again: it was carried out. Read the object that it changed instead."},
	{Code: CodeServiceUnavailable, Type: TypeAPI, Status: 503,
		Message:     "The service is temporarily unavailable.",
		Description: "Overload, a dependency or store that is down, or a shutdown.",
		Resolution:  "Wait for as long as the Retry-After header says, then retry with exponential backoff."},
	{Code: CodeTimeout, Type: TypeAPI, Status: 504,
		Message:     "The request took too long to process.",
		Description: "The server's own deadline passed.",
		Resolution:  "Retry with exponential backoff. Retry writes only with an idempotency key. If possible, make the request smaller."},
})

// core is the catalog of the specification alone. It is never written to.
var core = newBuiltin(builtin.defs[:builtin.byCode[CodeAPIError]+1])

func newBuiltin(defs []Definition) *Catalog {
	c := &Catalog{defs: defs, byCode: make(map[Code]int, len(defs))}
	for i, d := range defs {
		c.byCode[d.Code] = i
	}
	return c
}
