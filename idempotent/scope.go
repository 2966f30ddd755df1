package idempotent

import (
	"errors"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// A ScopeFunc tells whose key a request carries: the name of the authenticated principal. Two principals never see each other's
// keys. It must not return what the client merely claims. An error is answered by apierror.Write and nothing is recorded. It
// is called for requests with a key only.
//
// The empty name is nobody's: all such requests share one scope, and no quota of a store applies to it.
type ScopeFunc func(r *http.Request) (principal string, err error)

var errNoPrincipal = errors.New("idempotent: a request with an Idempotency-Key has no principal: " +
	"authentication must come before this middleware and name one (seawall.WithPrincipal), or the route must use idempotent.Global")

// ByPrincipal is a [ScopeFunc]: the principal that the service's authentication has named by seawall.WithPrincipal. A keyed
// request without one is answered 401 authentication_failed, since strangers must not share keys.
func ByPrincipal(r *http.Request) (string, error) {
	if p := reqstate.From(r.Context()).Principal(); p != "" {
		return p, nil
	}
	return "", apierror.AuthenticationFailed().WithCause(errNoPrincipal)
}

// Global is a [ScopeFunc]: one scope for all callers. It is only safe when they trust each other, or when their keys cannot be
// guessed: who sends another's key and request gets the other's response.
func Global(*http.Request) (string, error) { return "", nil }
