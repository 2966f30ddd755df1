package seawall

import (
	"context"
	"net/http"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// WithPrincipal returns a copy of the request that acts for the principal that a service's
// authentication found: the account, user or key id on whose behalf it runs (never the secret
// itself). Rate limits and idempotency keys are kept per principal.
//
//	func authenticate(next http.Handler) http.Handler {
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			key, ok := seawall.APIKey(r)
//			account, err := lookUp(r.Context(), key)
//			if !ok || err != nil {
//				apierror.Write(w, r, apierror.CodeAuthenticationFailed)
//				return
//			}
//			next.ServeHTTP(w, seawall.WithPrincipal(r, account))
//		})
//	}
//
// The principal belongs to the context of the copy, and to those that are derived from it. It never
// changes; r, and all contexts that exist already, keep the principal that they have. So a handler
// may serve sub-requests with its own context, each for a principal of its own, at the same time.
//
// Inside of [RequestID] or [AccessLog], what the copy has learned when the handler returns goes
// back to r: the pattern and the parsed form, whose temporary files are then removed. So a
// goroutine that outlives the handler must not use the copy itself; it may use the copy's
// context, or a Clone.
func WithPrincipal(r *http.Request, principal string) *http.Request {
	return reqstate.WithPrincipal(r, principal)
}

// Principal returns the principal that ctx acts for: what the last [WithPrincipal] on the way to
// it was given. It is empty if there was none.
func Principal(ctx context.Context) string { return reqstate.From(ctx).Principal() }

// AuthenticatedAs returns the principal that the request of ctx was authenticated as, for logs
// and metrics of layers outside of authentication, once the handler has returned: they cannot
// know by [Principal]. It is what the first [WithPrincipal] for the request was given, and no
// one that a sub-request acts for. A request with another Header map, such as a Clone,
// counts as a sub-request. It is empty if there was none. Decide nothing by it: that is for
// Principal.
//
// The context must be that of a middleware inside of [RequestID] or [AccessLog].
func AuthenticatedAs(ctx context.Context) string { return reqstate.From(ctx).Authenticated() }
