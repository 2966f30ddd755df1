package apierror

import "net/http"

// Type is the category of an error: the "type" member of the error object. It is an error
// itself, so errors.Is can check for a whole category, as a catch clause does in other
// languages:
//
//	errors.Is(err, apierror.TypeInvalidRequest)
type Type string

// The types of errors. There are no others: every code belongs to one of them.
const (
	TypeInvalidRequest Type = "invalid_request_error"
	TypeAuthentication Type = "authentication_error"
	TypePermission     Type = "permission_error"
	TypeIdempotency    Type = "idempotency_error"
	TypeRateLimit      Type = "rate_limit_error"
	TypeAPI            Type = "api_error"
)

// Error returns the type as it is on the wire.
func (t Type) Error() string { return string(t) }

// status returns the status of an error that has a type but no status.
func (t Type) status() int {
	switch t {
	case TypeInvalidRequest:
		return http.StatusBadRequest
	case TypeAuthentication:
		return http.StatusUnauthorized
	case TypePermission:
		return http.StatusForbidden
	case TypeIdempotency:
		return http.StatusConflict
	case TypeRateLimit:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}

func (t Type) known() bool { return t == TypeAPI || t.status() != http.StatusInternalServerError }

// typeOfStatus returns the type of a response that names none.
func typeOfStatus(status int) Type {
	switch {
	case status == http.StatusUnauthorized:
		return TypeAuthentication
	case status == http.StatusForbidden:
		return TypePermission
	case status == http.StatusTooManyRequests:
		return TypeRateLimit
	case status >= 400 && status < 500:
		return TypeInvalidRequest
	default:
		return TypeAPI
	}
}
