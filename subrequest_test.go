package seawall_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// tenants authenticates by the Authorization header, which is the tenant itself here.
func tenants(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, seawall.WithPrincipal(r, r.Header.Get("Authorization")))
	})
}

// subRequests are the ways in which handlers make them of their own request.
var subRequests = map[string]func(*http.Request) *http.Request{
	"Clone": func(r *http.Request) *http.Request { return r.Clone(r.Context()) },
	"NewRequestWithContext": func(r *http.Request) *http.Request {
		sub, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "/part", nil)
		if err != nil {
			panic(err)
		}
		return sub
	},
	"WithContext and another Header": func(r *http.Request) *http.Request {
		sub := r.WithContext(r.Context())
		sub.Header = http.Header{}
		return sub
	},
}

// servePart serves a sub-request of r for the tenant, and returns the answer.
func servePart(r *http.Request, sub func(*http.Request) *http.Request, h http.Handler, tenant string) *httptest.ResponseRecorder {
	s := sub(r)
	s.Header.Set("Authorization", tenant)
	s.Header.Set("Idempotency-Key", "same-key")
	s.Method, s.Body = http.MethodPost, http.NoBody
	w := httptest.NewRecorder()
	h.ServeHTTP(w, s)
	return w
}

func TestSubRequestsRunAsTheirOwnTenants(t *testing.T) {
	t.Parallel()
	const tenantsInABatch = 8
	guards := map[string]func() seawall.Middleware{
		"nothing else": func() seawall.Middleware { return nil },
		"ratelimit": func() seawall.Middleware {
			return ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
				Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal,
			})
		},
		"idempotent": func() seawall.Middleware {
			return idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
		},
		"ratelimit and idempotent": func() seawall.Middleware {
			return seawall.Chain(
				ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
					Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal,
				}),
				idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil))
		},
		"a Stack of their own": func() seawall.Middleware {
			stack := &seawall.Stack{Logger: discard}
			return stack.Handler
		},
	}
	for name, sub := range subRequests {
		for guard, guarded := range guards {
			t.Run(name+"/"+guard, func(t *testing.T) {
				t.Parallel()
				var start sync.WaitGroup
				start.Add(tenantsInABatch)
				inner := seawall.Chain(tenants, guarded())(plain(func(w http.ResponseWriter, r *http.Request) {
					start.Done()
					start.Wait() // all of them are running
					fmt.Fprint(w, seawall.Principal(r.Context()))
				}))
				var logs logs
				stack := &seawall.Stack{Logger: logs.logger(), Authenticate: as("outer"), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated}}
				answers := make([]*httptest.ResponseRecorder, tenantsInABatch)
				var after string
				serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
					var wg sync.WaitGroup
					for i := range answers {
						wg.Go(func() { answers[i] = servePart(r, sub, inner, fmt.Sprint("tenant ", i)) })
					}
					wg.Wait()
					after = seawall.Principal(r.Context())
				})), http.Header{"Idempotency-Key": {"outer-key"}})

				for i, a := range answers {
					require.Equal(t, http.StatusOK, a.Code)
					require.Equal(t, fmt.Sprint("tenant ", i), a.Body.String())
					require.Empty(t, a.Header().Get("Idempotent-Replayed"))
				}
				require.Equal(t, "outer", after)
				line := logs.access(t)[0]
				require.Equal(t, "outer", line["principal"])
				require.Equal(t, "outer", line["authenticated"])
			})
		}
	}
}

// showAuthenticated logs both ways of asking for the principal.
func showAuthenticated(r *http.Request) []slog.Attr {
	return []slog.Attr{
		slog.String("principal", seawall.Principal(r.Context())),
		slog.String("authenticated", seawall.AuthenticatedAs(r.Context())),
	}
}

// The second tenant's first request is no retry of the first one's.
func TestSubRequestsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	for name, sub := range subRequests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idempotency := idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
			inner := seawall.Chain(tenants, idempotency)(showPrincipal)
			stack := &seawall.Stack{Logger: discard, Authenticate: as("outer")}
			serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
				for _, tenant := range []string{"1", "2", "1", "2"} {
					if got := servePart(r, sub, inner, tenant).Body.String(); got != tenant {
						t.Errorf("%s was answered %q", tenant, got)
					}
				}
			})), nil)
		})
	}
}

func TestSubRequestInheritsThePrincipal(t *testing.T) {
	t.Parallel()
	for name, sub := range subRequests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for inside, inner := range map[string]http.Handler{
				"nothing": showPrincipal,
				"a Stack": (&seawall.Stack{Logger: discard}).Handler(showPrincipal),
			} {
				stack := &seawall.Stack{Logger: discard, Authenticate: as("outer")}
				serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
					w := httptest.NewRecorder()
					inner.ServeHTTP(w, sub(r))
					if w.Body.String() != "outer" {
						t.Errorf("%s: it runs as %q", inside, w.Body.String())
					}
				})), nil)
			}
		})
	}
}

// Impersonation: who was authenticated first stays who was authenticated.
func TestWithPrincipalLeavesOtherContextsAlone(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, derived := range map[string]func(*http.Request) *http.Request{
		"the request":         func(r *http.Request) *http.Request { return r },
		"Clone":               func(r *http.Request) *http.Request { return r.Clone(r.Context()) },
		"a context of a part": func(r *http.Request) *http.Request { return r.WithContext(context.WithValue(r.Context(), key{}, 1)) },
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

func TestFirstPrincipalOfTheRequestIsLogged(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{
		Logger: logs.logger(), Authenticate: seawall.Chain(as("key_1"), as("acct_1")), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated},
	}
	require.Equal(t, "acct_1", serveOne(stack.Handler(showPrincipal), nil).Body.String())
	require.Equal(t, "key_1", logs.access(t)[0]["authenticated"])
	require.Empty(t, seawall.AuthenticatedAs(t.Context()))
}

func TestPrincipalsSetAtOnceAndTooLate(t *testing.T) {
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

// A sub-request has its own line if it passes an access log, under the id of the whole.
func TestSubRequestsHaveLinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	for name, sub := range subRequests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var outer, inner logs
			part := (&seawall.Stack{Logger: inner.logger(), Authenticate: as("tenant"), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated}}).
				Handler(failing(nil, apierror.CodePermissionDenied))
			stack := &seawall.Stack{Logger: outer.logger(), Authenticate: as("outer"), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated}}
			w := serveOne(stack.Handler(plain(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				part.ServeHTTP(rec, sub(r))
				w.WriteHeader(http.StatusMultiStatus)
				fmt.Fprint(w, strings.TrimSpace(rec.Body.String()))
			})), nil)

			id := w.Header().Get("Request-Id")
			require.Contains(t, w.Body.String(), id)
			line := outer.access(t)[0]
			require.InDelta(t, http.StatusMultiStatus, line["status"], 0)
			require.NotContains(t, line, "code")
			require.Equal(t, "outer", line["authenticated"])
			line = inner.access(t)[0]
			require.InDelta(t, http.StatusForbidden, line["status"], 0)
			require.Equal(t, "permission_denied", line["code"])
			require.Equal(t, id, line["request_id"])
			require.Equal(t, "tenant", line["authenticated"])
		})
	}
}
