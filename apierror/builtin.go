package apierror

// builtin is the catalogue of the specification (the first eight) and of Seawall's extensions. It is never written to.
var builtin = newBuiltin([]Definition{
	{CodeParameterMissing, TypeInvalidRequest, 400, "A required parameter is missing.",
		"A required parameter was not supplied.", false},
	{CodeParameterInvalid, TypeInvalidRequest, 400, "A parameter has the wrong type or value.",
		"A parameter had the wrong type or value.", false},
	{CodeResourceMissing, TypeInvalidRequest, 404, "The requested resource does not exist.",
		"No object exists with the given ID.", false},
	{CodeAuthenticationFailed, TypeAuthentication, 401, "No valid API key was provided.",
		"The API key is missing, malformed, or revoked.", false},
	{CodePermissionDenied, TypePermission, 403, "The API key lacks permission for this resource.",
		"The key is valid but lacks the required scope.", false},
	{CodeIdempotencyConflict, TypeIdempotency, 409, "The idempotency key was already used with a different request.",
		"An idempotency key was reused with a different body.", false},
	{CodeRateLimitExceeded, TypeRateLimit, 429, "Too many requests: the rate limit was hit.",
		"Too many requests in a short window.", true},
	{CodeAPIError, TypeAPI, 500, "An unexpected error occurred on our side.",
		"An unexpected error occurred on our side.", true},

	{CodeMethodNotAllowed, TypeInvalidRequest, 405, "The resource does not support this method.",
		"The path exists, the method does not.", false},
	{CodeRequestTooLarge, TypeInvalidRequest, 413, "The request body is too large.",
		"The body is over the limit.", false},
	{CodeUnsupportedMediaType, TypeInvalidRequest, 415, "The request body is of an unsupported media type.",
		"The body is not of a type that the route reads.", false},
	{CodeIdempotencyInProgress, TypeIdempotency, 429, "The first request with this idempotency key is still running.",
		"The first request with this key is still running after the wait.", true},
	{CodeIdempotencyOutcomeUnknown, TypeIdempotency, 409, "The first request with this idempotency key failed half-way: whether it took effect is not known.",
		"The first request failed after its point of no return.", false},
	{CodeIdempotencyResponseUnavailable, TypeIdempotency, 409, "The first request with this idempotency key was carried out, but its response was not kept.",
		"It ran, but its response was too large or streamed to keep.", false},
	{CodeServiceUnavailable, TypeAPI, 503, "The service is temporarily unavailable.",
		"Overload, a dependency or store that is down, draining.", true},
	{CodeTimeout, TypeAPI, 504, "The request took too long to process.",
		"The server's own deadline passed.", true},
})

func newBuiltin(defs []Definition) *Catalog {
	c := &Catalog{defs: defs, byCode: make(map[Code]int, len(defs))}
	for i, d := range defs {
		c.byCode[d.Code] = i
	}
	return c
}

// fold is what the strict profile sends in place of a code and status that the specification does not have.
func fold(code Code, typ Type, status int) Definition {
	to := CodeAPIError
	switch {
	case code.strict(): // whatever status and type somebody gave it
		to = code
	case code == CodeMethodNotAllowed:
		to = CodeResourceMissing
	case code == CodeIdempotencyInProgress:
		to = CodeRateLimitExceeded
	case typ == TypeAuthentication:
		to = CodeAuthenticationFailed
	case typ == TypePermission:
		to = CodePermissionDenied
	case typ == TypeIdempotency:
		to = CodeIdempotencyConflict
	case typ == TypeRateLimit:
		to = CodeRateLimitExceeded
	case typ == TypeInvalidRequest && (status == 404 || status == 410):
		to = CodeResourceMissing
	case typ == TypeInvalidRequest:
		to = CodeParameterInvalid
	}
	d, _ := builtin.Lookup(to)
	return d
}

// strict tells whether the specification itself has the code.
func (c Code) strict() bool {
	i, ok := builtin.byCode[c]
	return ok && i <= builtin.byCode[CodeAPIError]
}
