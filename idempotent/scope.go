package idempotent

import (
	"errors"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// A ScopeFunc returns the principal to whom the key of a request belongs. Two principals
// never see each other's keys, so a ScopeFunc must not return a value that the client merely
// claims. It is called only for requests with a key.
//
// If it returns [ErrIgnoreKey], the request is served as if it had no key. If it returns any
// other error, the request is answered with that error (apierror.Write) and nothing is
// recorded. Use such an error to refuse keys on routes that cannot replay a response. An
// empty principal is logged and answered 500. See [Global].
type ScopeFunc func(r *http.Request) (principal string, err error)

// ErrIgnoreKey is returned by a [ScopeFunc] to serve a request as if it had no key. Use it
// for routes without a principal, such as a log-in form: browsers may add Idempotency-Key to
// requests by themselves.
var ErrIgnoreKey = errors.New("idempotent: the key is ignored")

// GlobalPrincipal is the principal that all callers share. See [Global].
const GlobalPrincipal = "\x00global"

var (
	errNoPrincipal = errors.New("idempotent: a request with an Idempotency-Key has no principal: authenticate it " +
		"before this middleware and set its principal with seawall.WithPrincipal, or use idempotent.Global")
	errEmptyPrincipal = errors.New("idempotent: the principal of a key is empty: use GlobalPrincipal if all callers may share their keys")
)

// ByPrincipal is a [ScopeFunc]. It returns the principal that the service's authentication
// has set with seawall.WithPrincipal. A request without one is answered 401
// authentication_failed.
func ByPrincipal(r *http.Request) (string, error) {
	if p := reqstate.From(r.Context()).Principal(); p != "" {
		return p, nil
	}
	return "", apierror.CodeAuthenticationFailed.New().WithCause(errNoPrincipal)
}

// Global is a [ScopeFunc]. It returns [GlobalPrincipal], so that all callers share their
// keys. It is safe only if callers trust each other, or if their keys cannot be guessed.
// Otherwise, a caller can get the response of another one, by sending the same key and the
// same request. A store's quota for one scope does not apply.
func Global(*http.Request) (string, error) { return GlobalPrincipal, nil }
