package idempotent

import (
	"errors"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// A ScopeFunc returns whose key a request carries: the name of the authenticated principal. Two
// principals never see each other's keys. It must not return what the client merely claims. It is
// called for requests with a key only.
//
// An error is answered by apierror.Write and nothing is recorded, except for [ErrIgnoreKey]. An
// empty name is a mistake, because strangers would share their keys: it is logged and answered
// with 500. [Global] is the way to share them.
type ScopeFunc func(r *http.Request) (principal string, err error)

// ErrIgnoreKey is returned by a [ScopeFunc] for a request that is to be served as if it had no
// key, on routes without a principal such as a log-in form: browsers begin to add
// Idempotency-Key to requests by themselves.
var ErrIgnoreKey = errors.New("idempotent: the key is ignored")

// GlobalPrincipal is the principal that all callers share: see [Global].
const GlobalPrincipal = "\x00global"

var (
	errNoPrincipal = errors.New("idempotent: a request with an Idempotency-Key has no principal: " +
		"authentication must come before this middleware and name one (seawall.WithPrincipal), or the route must use idempotent.Global")
	errEmptyPrincipal = errors.New("idempotent: the principal of a key is empty: strangers would share their keys; " +
		"name one, or use GlobalPrincipal")
)

// ByPrincipal is a [ScopeFunc]: the principal that the service's authentication has named with
// seawall.WithPrincipal. A keyed request without one is answered 401 authentication_failed.
func ByPrincipal(r *http.Request) (string, error) {
	if p := reqstate.From(r.Context()).Principal(); p != "" {
		return p, nil
	}
	return "", apierror.CodeAuthenticationFailed.New().WithCause(errNoPrincipal)
}

// Global is a [ScopeFunc]: one scope for all callers. It is safe only if they trust each other,
// or if their keys cannot be guessed: whoever sends another caller's key and request gets the
// other's response. A store's quota for one scope does not apply to it.
func Global(*http.Request) (string, error) { return GlobalPrincipal, nil }
