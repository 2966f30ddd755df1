package seawall

import (
	"context"
	"net/http"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// WithPrincipal returns the request with the principal that a service's authentication found: the account, user or key id on whose
// behalf it runs (never the secret itself). Rate limits and idempotency keys are kept per principal.
//
//	func authenticate(next http.Handler) http.Handler {
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			account, ok := lookUp(r.Header.Get("Authorization"))
//			if !ok {
//				apierror.Write(w, r, apierror.AuthenticationFailed())
//				return
//			}
//			next.ServeHTTP(w, seawall.WithPrincipal(r, account))
//		})
//	}
//
// Below [RequestID] the principal belongs to the whole request and r itself is returned; elsewhere the result is a shallow copy.
func WithPrincipal(r *http.Request, principal string) *http.Request {
	r, state := reqstate.Ensure(r)
	state.SetPrincipal(principal)
	return r
}

// Principal returns what [WithPrincipal] was given; "" while nobody said.
func Principal(ctx context.Context) string { return reqstate.From(ctx).Principal() }
