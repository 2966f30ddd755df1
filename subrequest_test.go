package seawall_test

import (
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

// tenants is an authentication whose Authorization header is the tenant.
func tenants(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, seawall.WithPrincipal(r, r.Header.Get("Authorization")))
	})
}

// subRequests are the ways in which a handler makes a sub-request of its request.
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

// servePart serves a sub-request of r for the tenant.
func servePart(r *http.Request, sub func(*http.Request) *http.Request, h http.Handler, tenant string) *httptest.ResponseRecorder {
	s := sub(r)
	s.Header.Set("Authorization", tenant)
	s.Header.Set("Idempotency-Key", "same-key")
	s.Method, s.Body = http.MethodPost, http.NoBody
	w := httptest.NewRecorder()
	h.ServeHTTP(w, s)
	return w
}

// tenantGuards are guards that distinguish tenants.
var tenantGuards = map[string]func() seawall.Middleware{
	"nothing else": func() seawall.Middleware { return nil },
	"ratelimit":    oneAnHour,
	"idempotent":   onceForEachKey,
	"ratelimit and idempotent": func() seawall.Middleware {
		return seawall.Chain(oneAnHour(), onceForEachKey())
	},
	"a Stack of their own": func() seawall.Middleware { return (&seawall.Stack{Logger: discard}).Handler },
}

func oneAnHour() seawall.Middleware {
	return ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal,
	})
}

func onceForEachKey() seawall.Middleware {
	return idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
}

func TestConcurrentSubRequestsKeepTheirPrincipals(t *testing.T) {
	t.Parallel()
	const tenantsInABatch = 8
	for name, sub := range subRequests {
		for guard, guarded := range tenantGuards {
			t.Run(name+"/"+guard, func(t *testing.T) {
				t.Parallel()
				var start sync.WaitGroup
				start.Add(tenantsInABatch)
				inner := seawall.Chain(tenants, guarded())(plain(func(w http.ResponseWriter, r *http.Request) {
					start.Done()
					start.Wait() // until all of them run
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

func TestSequentialSubRequestsKeepTheirPrincipals(t *testing.T) {
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

// The lines have the id of the outer request.
func TestSubRequestsHaveTheirOwnLines(t *testing.T) {
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

func TestSubRequestsAreLoggedWithTheInheritedPrincipal(t *testing.T) {
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

func TestTheErrorOfASubRequestIsInBothAccessLogs(t *testing.T) {
	t.Parallel()
	var outer, inner logs
	part := (&seawall.Stack{Logger: inner.logger()}).Handler(failing(nil, apierror.CodePermissionDenied))
	h := (&seawall.Stack{Logger: outer.logger()}).Handler(cloned(hidesWriter(part)))

	w := serveOne(h, nil)

	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, "permission_denied", outer.access(t)[0]["code"])
	require.Equal(t, "permission_denied", inner.access(t)[0]["code"])
	require.Equal(t, w.Header().Get("Request-Id"), inner.access(t)[0]["request_id"])
}
