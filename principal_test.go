package seawall_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestPrincipalIsEmptyByDefault(t *testing.T) {
	t.Parallel()
	require.Empty(t, seawall.Principal(context.Background()))
	require.Empty(t, serveOne(seawall.RequestID(nil)(showPrincipal), nil).Body.String())
}

func TestWithPrincipalNeedsNoChain(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	inside := seawall.WithPrincipal(r, "acct_1")
	require.Equal(t, "acct_1", seawall.Principal(inside.Context()))
	require.Equal(t, "acct_1", seawall.AuthenticatedAs(inside.Context()))
	require.Empty(t, seawall.Principal(r.Context()), "the original was changed")
}

func TestTheLastPrincipalWins(t *testing.T) {
	t.Parallel()
	h := seawall.Chain(seawall.RequestID(nil), as("key_1"), as("acct_1"))(showPrincipal)
	require.Equal(t, "acct_1", serveOne(h, nil).Body.String())
}

func TestWithPrincipalLeavesOtherContextsAlone(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, derived := range map[string]func(*http.Request) *http.Request{
		"the request":       func(r *http.Request) *http.Request { return r },
		"Clone":             func(r *http.Request) *http.Request { return r.Clone(r.Context()) },
		"a derived context": func(r *http.Request) *http.Request { return r.WithContext(context.WithValue(r.Context(), key{}, 1)) },
	} {
		for outer, outside := range map[string]seawall.Middleware{
			"alone":     nil,
			"RequestID": seawall.RequestID(nil),
			"AccessLog": seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard}),
			"Stack":     (&seawall.Stack{Logger: discard}).Handler,
		} {
			t.Run(name+"/"+outer, func(t *testing.T) {
				t.Parallel()
				h := seawall.Chain(outside, as("outer"))(plain(func(_ http.ResponseWriter, r *http.Request) {
					other := r.WithContext(context.WithValue(r.Context(), key{}, 2))
					as := seawall.WithPrincipal(derived(r), "x")
					again := seawall.WithPrincipal(as, "y")
					for i, row := range []struct {
						r    *http.Request
						want string
					}{{r, "outer"}, {other, "outer"}, {as, "x"}, {again, "y"}} {
						if got := seawall.Principal(row.r.Context()); got != row.want {
							t.Errorf("%d: %q, not %q", i, got, row.want)
						}
					}
				}))
				serveOne(h, nil)
			})
		}
	}
}

func TestPrincipalsSetConcurrentlyAndLate(t *testing.T) {
	t.Parallel()
	var logs logs
	var late sync.WaitGroup
	returned := make(chan struct{})
	stack := &seawall.Stack{Logger: logs.logger(), Authenticate: as("outer"), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated}}
	serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for i := range 32 {
			want := fmt.Sprint("part ", i)
			check := func() {
				c := seawall.WithPrincipal(r, want)
				if got := seawall.Principal(c.Context()); got != want {
					t.Errorf("%q, not %q", got, want)
				}
				if got := seawall.AuthenticatedAs(c.Context()); got != "outer" {
					t.Errorf("authenticated as %q", got)
				}
			}
			wg.Go(check)
			late.Go(func() {
				<-returned
				check()
			})
		}
		wg.Wait()
	})), nil)
	close(returned)
	late.Wait()
	require.Equal(t, "outer", logs.access(t)[0]["authenticated"])
}

// showAuthenticated returns attributes for both functions that return a principal.
func showAuthenticated(r *http.Request) []slog.Attr {
	return []slog.Attr{
		slog.String("principal", seawall.Principal(r.Context())),
		slog.String("authenticated", seawall.AuthenticatedAs(r.Context())),
	}
}

func TestAttrsSeeThePrincipal(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{
		Logger:       logs.logger(),
		Authenticate: as("acct_1"),
		AccessLog: &seawall.AccessLogOptions{Attrs: func(r *http.Request) []slog.Attr {
			return []slog.Attr{slog.String("principal", seawall.Principal(r.Context()))}
		}},
	}
	require.Equal(t, "acct_1", serveOne(stack.Handler(showPrincipal), nil).Body.String())
	require.Equal(t, "acct_1", logs.access(t)[0]["principal"])
}

func TestTheFirstPrincipalIsLogged(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{
		Logger: logs.logger(), Authenticate: seawall.Chain(as("key_1"), as("acct_1")), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated},
	}
	require.Equal(t, "acct_1", serveOne(stack.Handler(showPrincipal), nil).Body.String())
	require.Equal(t, "key_1", logs.access(t)[0]["authenticated"])
	require.Empty(t, seawall.AuthenticatedAs(t.Context()))
}

func TestThePrincipalOfACloneIsNotLogged(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated}}
	serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		part := seawall.WithPrincipal(r.Clone(r.Context()), "part")
		require.Equal(t, "part", seawall.Principal(part.Context()))
		require.Empty(t, seawall.AuthenticatedAs(r.Context()))
	})), nil)
	require.Empty(t, logs.access(t)[0]["authenticated"])
}

func TestAReplacedContextHasNoPrincipal(t *testing.T) {
	t.Parallel()
	for name, chain := range map[string]seawall.Middleware{
		"in a Stack":                     seawall.Chain((&seawall.Stack{Logger: discard}).Handler, as("acct_1"), replacesContext),
		"below two trackers":             seawall.Chain(seawall.RequestID(nil), as("acct_1"), wrapped(1), seawall.RequestID(nil), replacesContext),
		"below a tracker, authenticated": seawall.Chain(as("acct_1"), seawall.RequestID(nil), replacesContext),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serveOne(seawall.Chain(chain, seawall.RequestID(nil))(showPrincipal), nil)
			require.Empty(t, w.Body.String())
			require.Regexp(t, requestIDForm, w.Header().Get("Request-Id"))
		})
	}
}

func TestAContextDoesNotKeepItsRequestAlive(t *testing.T) {
	t.Parallel()
	for name, chain := range map[string]seawall.Middleware{
		"without a chain": nil,
		"in a Stack":      (&seawall.Stack{Logger: discard}).Handler,
	} {
		var kept context.Context
		var seen weak.Pointer[http.Request]
		handler := plain(func(_ http.ResponseWriter, r *http.Request) { // a copy of another middleware, and one that is not served
			copied := seawall.WithPrincipal(r.WithContext(r.Context()), "acct_1")
			seen, kept = weak.Make(copied), copied.Context()
		})
		serveOne(seawall.Chain(chain)(handler), nil)
		leakcheck.Collect()
		require.Nil(t, seen.Value(), name)
		require.Equal(t, "acct_1", seawall.Principal(kept), name)
	}
}

func TestACopyMadeAfterTheRequestIsNotKept(t *testing.T) {
	t.Parallel()
	var r *http.Request
	serveOne((&seawall.Stack{Logger: discard}).Handler(plain(func(_ http.ResponseWriter, own *http.Request) { r = own })), nil)
	seen := weak.Make(seawall.WithPrincipal(r, "acct_1"))
	leakcheck.Collect()
	require.Nil(t, seen.Value())
	runtime.KeepAlive(r)
}

// A handler may make a copy for each item of a long batch.
func TestAtMostEightCopiesAreKept(t *testing.T) {
	t.Parallel()
	serveOne((&seawall.Stack{Logger: discard}).Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		var seen []weak.Pointer[http.Request]
		for range 100 {
			seen = append(seen, weak.Make(seawall.WithPrincipal(r, "acct_1")))
		}
		leakcheck.Collect()
		kept := 0
		for _, copied := range seen {
			if copied.Value() != nil {
				kept++
			}
		}
		require.Equal(t, 8, kept)
		runtime.KeepAlive(r)
	})), nil)
}
