package seawall_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// bare hides everything of a ResponseWriter, and does not unwrap.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header         { return b.w.Header() }
func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }
func (b bare) WriteHeader(status int)      { b.w.WriteHeader(status) }

func barely(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(bare{w}, r) })
}

// A Renderer holds for everything below it, whatever is in between. The strict one folds a 503
// into a 500.
func TestARendererHoldsForAllThatIsBelow(t *testing.T) {
	t.Parallel()
	strict := (&apierror.Renderer{Strict: true, Logger: discard}).Handler
	id := seawall.RequestID(nil)
	for name, chain := range map[string]seawall.Middleware{
		"alone":                                 strict,
		"below RequestID":                       seawall.Chain(id, strict),
		"around RequestID":                      seawall.Chain(strict, id),
		"around RequestID, twice":               seawall.Chain(strict, id, id),
		"around authentication":                 seawall.Chain(strict, as("acct_1")),
		"around authentication, twice":          seawall.Chain(strict, as("key_1"), as("acct_1")),
		"around authentication and RequestID":   seawall.Chain(strict, as("acct_1"), id),
		"around a timeout":                      seawall.Chain(strict, seawall.Timeout(1<<40)),
		"around a foreign writer":               seawall.Chain(strict, wrapped(2), id),
		"around a foreign writer and a clone":   seawall.Chain(strict, wrapped(2), cloned),
		"around a replaced context":             seawall.Chain(strict, forgetful),
		"around a replaced context, RequestID":  seawall.Chain(strict, forgetful, id),
		"around a replaced context, AccessLog":  seawall.Chain(strict, forgetful, seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard})),
		"around authentication, then replaced":  seawall.Chain(strict, as("acct_1"), wrapped(1), id, forgetful),
		"below authentication, then replaced":   seawall.Chain(id, as("acct_1"), wrapped(1), strict, forgetful),
		"around a sub-request's own chain":      seawall.Chain(strict, id, cloned, barely, id),
		"around a sub-request's authentication": seawall.Chain(strict, id, cloned, barely, id, as("acct_1")),
		"the innermost of two":                  seawall.Chain((&apierror.Renderer{}).Handler, id, strict),
		"the innermost of two, authenticated":   seawall.Chain(id, (&apierror.Renderer{}).Handler, as("acct_1"), strict),
		"a Stack's":                             (&seawall.Stack{Logger: discard, Renderer: &apierror.Renderer{Strict: true}, Authenticate: as("acct_1")}).Handler,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serveOne(chain(failing(nil, apierror.ServiceUnavailable(0))), nil)
			require.Equal(t, http.StatusInternalServerError, w.Code)
		})
	}
}

// A context that was replaced acts for no one, wherever the response's tracker was made.
func TestAReplacedContextActsForNoOne(t *testing.T) {
	t.Parallel()
	for name, chain := range map[string]seawall.Middleware{
		"in a Stack":                     seawall.Chain((&seawall.Stack{Logger: discard}).Handler, as("acct_1"), forgetful),
		"below its own tracker":          seawall.Chain(seawall.RequestID(nil), as("acct_1"), wrapped(1), seawall.RequestID(nil), forgetful),
		"below a tracker, authenticated": seawall.Chain(as("acct_1"), seawall.RequestID(nil), forgetful),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serveOne(seawall.Chain(chain, seawall.RequestID(nil))(showPrincipal), nil)
			require.Empty(t, w.Body.String())
			require.Regexp(t, requestIDForm, w.Header().Get("Request-Id"))
		})
	}
}

// An error that a sub-request answers for its request is the request's.
func TestAnErrorThatASubRequestAnswersIsKnownOutside(t *testing.T) {
	t.Parallel()
	var outer, inner logs
	part := (&seawall.Stack{Logger: inner.logger()}).Handler(failing(nil, apierror.CodePermissionDenied))
	h := (&seawall.Stack{Logger: outer.logger()}).Handler(cloned(barely(part)))

	w := serveOne(h, nil)

	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, "permission_denied", outer.access(t)[0]["code"])
	require.Equal(t, "permission_denied", inner.access(t)[0]["code"])
	require.Equal(t, w.Header().Get("Request-Id"), inner.access(t)[0]["request_id"])
}

// A sub-request that nobody authenticates is logged under the principal that it inherits.
func TestASubRequestIsLoggedUnderThePrincipalThatItInherits(t *testing.T) {
	t.Parallel()
	var inner logs
	part := seawall.AccessLog(&seawall.AccessLogOptions{Logger: inner.logger(), Attrs: showAuthenticated})(ok)
	stack := &seawall.Stack{Logger: slog.New(slog.DiscardHandler), Authenticate: as("outer")}
	serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		part.ServeHTTP(httptest.NewRecorder(), r.Clone(r.Context()))
	})), nil)
	line := inner.access(t)[0]
	require.Equal(t, "outer", line["principal"])
	require.Empty(t, line["authenticated"])
}
