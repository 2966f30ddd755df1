package apierror

// fold replaces codes, types and statuses that the specification does not have, for
// [Renderer.Strict].
func (e *Error) fold() {
	d := builtin.find(e.strictCode())
	e.code, e.typ, e.status = d.Code, d.Type, d.Status
	fields := e.Fields()
	if len(fields) == 0 {
		return
	}
	for i, f := range fields {
		if !f.Code.strict() {
			fields[i].Code = CodeParameterInvalid
		}
	}
	e.ownDetails().fields = fields
}

// strictCode returns the code of the specification that is nearest to the error.
func (e *Error) strictCode() Code {
	switch {
	case e.code.strict(): // whatever status and type it was given
		return e.code
	case e.code == CodeMethodNotAllowed:
		return CodeResourceMissing
	case e.code == CodeIdempotencyInProgress:
		return CodeRateLimitExceeded
	}
	switch e.typ {
	case TypeAuthentication:
		return CodeAuthenticationFailed
	case TypePermission:
		return CodePermissionDenied
	case TypeIdempotency:
		return CodeIdempotencyConflict
	case TypeRateLimit:
		return CodeRateLimitExceeded
	case TypeInvalidRequest:
		if e.status == 404 || e.status == 410 {
			return CodeResourceMissing
		}
		return CodeParameterInvalid
	default:
		return CodeAPIError
	}
}

// strict reports whether the code is one of the specification's.
func (c Code) strict() bool { return core.find(c) != nil }
