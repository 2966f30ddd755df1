package reference

import "github.com/seawall-go/seawall/apierror"

// errorType describes one of the six types.
type errorType struct {
	Type    apierror.Type
	Class   string // its name in the generated code, where it extends ResponseError
	Meaning string
}

// errorTypes has all types, in the order of the specification.
var errorTypes = []errorType{
	{apierror.TypeInvalidRequest, "InvalidRequestError", "The request was malformed, or it cannot be carried out as it is."},
	{apierror.TypeAuthentication, "AuthenticationError", "The request carried no valid API key."},
	{apierror.TypePermission, "PermissionDeniedError", "The API key is valid, but it does not allow the request."},
	{apierror.TypeIdempotency, "IdempotencyError", "An earlier request used the same idempotency key, so this request was not carried out."},
	{apierror.TypeRateLimit, "RateLimitError", "Too many requests were sent."},
	{apierror.TypeAPI, "APIError", "Something went wrong on our side."},
}

// definitionsOf returns the catalog's definitions of a type.
func (r *Reference) definitionsOf(t apierror.Type) (defs []apierror.Definition) {
	for _, d := range r.defs {
		if d.Type == t {
			defs = append(defs, d)
		}
	}
	return defs
}

// definitionsWith returns the catalog's definitions with a status.
func (r *Reference) definitionsWith(status int) (defs []apierror.Definition) {
	for _, d := range r.defs {
		if d.Status == status {
			defs = append(defs, d)
		}
	}
	return defs
}
