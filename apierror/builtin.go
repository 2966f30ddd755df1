package apierror

// builtin is the catalog of the specification (the first eight) and of the codes that Seawall
// adds. It is never written to.
var builtin = newBuiltin([]Definition{
	{Code: CodeParameterMissing, Type: TypeInvalidRequest, Status: 400,
		Message: "A required parameter is missing.", Description: "A required parameter was not supplied."},
	{Code: CodeParameterInvalid, Type: TypeInvalidRequest, Status: 400,
		Message: "A parameter has the wrong type or value.", Description: "A parameter had the wrong type or value."},
	{Code: CodeResourceMissing, Type: TypeInvalidRequest, Status: 404,
		Message: "The requested resource does not exist.", Description: "No object exists with the given ID."},
	{Code: CodeAuthenticationFailed, Type: TypeAuthentication, Status: 401,
		Message: "No valid API key was provided.", Description: "The API key is missing, malformed, or revoked."},
	{Code: CodePermissionDenied, Type: TypePermission, Status: 403,
		Message: "The API key lacks permission for this resource.", Description: "The key is valid but lacks the required scope."},
	{Code: CodeIdempotencyConflict, Type: TypeIdempotency, Status: 409,
		Message: "The idempotency key was already used with a different request.", Description: "An idempotency key was reused with a different body."},
	{Code: CodeRateLimitExceeded, Type: TypeRateLimit, Status: 429,
		Message: "Too many requests: the rate limit was hit.", Description: "Too many requests in a short window."},
	{Code: CodeAPIError, Type: TypeAPI, Status: 500,
		Message: "An unexpected error occurred on our side.", Description: "An unexpected error occurred on our side."},

	{Code: CodeMethodNotAllowed, Type: TypeInvalidRequest, Status: 405,
		Message: "The resource does not support this method.", Description: "The path exists, the method does not."},
	{Code: CodeRequestTooLarge, Type: TypeInvalidRequest, Status: 413,
		Message: "The request body is too large.", Description: "The body is over the limit."},
	{Code: CodeUnsupportedMediaType, Type: TypeInvalidRequest, Status: 415,
		Message: "The request body is of an unsupported media type.", Description: "The body is not of a type that the route reads."},
	{Code: CodeIdempotencyInProgress, Type: TypeIdempotency, Status: 429,
		Message: "The first request with this idempotency key is still running.", Description: "The first request with this key is still running after the wait."},
	{Code: CodeIdempotencyOutcomeUnknown, Type: TypeIdempotency, Status: 409,
		Message: "The first request with this idempotency key failed halfway: it may or may not have taken effect.", Description: "The first request failed after its point of no return."},
	{Code: CodeIdempotencyResponseUnavailable, Type: TypeIdempotency, Status: 409,
		Message: "The first request with this idempotency key was carried out, but its response was not kept.", Description: "The first request ran, but its response was too large to keep, or was streamed."},
	{Code: CodeServiceUnavailable, Type: TypeAPI, Status: 503,
		Message: "The service is temporarily unavailable.", Description: "Overload, a dependency or store that is down, or a shutdown."},
	{Code: CodeTimeout, Type: TypeAPI, Status: 504,
		Message: "The request took too long to process.", Description: "The server's own deadline passed."},
})

func newBuiltin(defs []Definition) *Catalog {
	c := &Catalog{defs: defs, byCode: make(map[Code]int, len(defs))}
	for i, d := range defs {
		c.byCode[d.Code] = i
	}
	return c
}
