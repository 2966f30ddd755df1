package seawall

import (
	"context"
	"net/http"

	"github.com/seawall-go/seawall/internal/reqstate"
)

// WithPrincipal returns a copy of r that acts for a principal: the account, user or key id
// that the service's authentication found, never the secret itself. ratelimit.ByPrincipal
// and idempotent.ByPrincipal read it.
//
//	func authenticate(next http.Handler) http.Handler {
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			key, _ := seawall.APIKey(r)
//			account, err := find(r.Context(), key) // CodeAuthenticationFailed for an unknown key
//			if err != nil {
//				apierror.Write(w, r, err)
//				return
//			}
//			next.ServeHTTP(w, seawall.WithPrincipal(r, account))
//		})
//	}
//
// The principal belongs to the context of the copy and to the contexts derived from it. r and
// existing contexts keep theirs. So a handler may serve several sub-requests at the same time,
// each for its own principal.
//
// Inside [RequestID] or [AccessLog], the pattern and the parsed form of the copy are handed
// back to r when the handler returns, and temporary files of the form are removed. A
// goroutine that outlives the handler must not use the copy; it may use the copy's context,
// or a Clone of the copy.
func WithPrincipal(r *http.Request, principal string) *http.Request {
	return reqstate.WithPrincipal(r, principal)
}

// Principal returns the principal that ctx acts for: the one of the last [WithPrincipal]. It is
// empty if there was none.
func Principal(ctx context.Context) string { return reqstate.From(ctx).Principal() }

// AuthenticatedAs returns the principal that the request of ctx was authenticated as: the
// one of its first [WithPrincipal]. It is empty if there was none. Use it after the handler
// has returned, in the logs and metrics of middleware that is outside of authentication and
// so cannot use [Principal]. Do not base decisions on it.
//
// ctx must be the context of a middleware inside [RequestID] or [AccessLog]. Principals of
// sub-requests do not count. A request with another Header map, such as a Clone, is a
// sub-request.
func AuthenticatedAs(ctx context.Context) string { return reqstate.From(ctx).Authenticated() }
