package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestHostsOfOneServiceShareACircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := transport(base)
		tr.Breaker = new(retry.Breaker)
		tr.Group = func(r *http.Request) string {
			_, service, _ := strings.Cut(r.URL.Host, ".")
			return service
		}
		for i := range 2000 {
			_ = do(t, tr, fmt.Sprintf("https://tenant%d.service.example", i))
		}
		require.LessOrEqual(t, base.count(), 30)
		require.Len(t, tr.Breaker.Circuits(), 1)
	})
}

func TestTenantsOfOneHostHaveTheirOwnCircuits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/hooks/dead" {
				return nil, errBroken
			}
			return answer(200, ""), nil
		}))
		tr.Group = func(r *http.Request) string { return retry.Origin(r.URL) + r.URL.Path }
		var groups []string
		tr.Observe = func(_ context.Context, e retry.Event) { groups = append(groups, e.Group) }
		for range 20 {
			_ = do(t, tr, "https://api.example/hooks/dead")
		}
		err := do(t, tr, "https://api.example/hooks/dead")
		refused, ok := errors.AsType[*retry.CircuitOpenError](err)
		require.True(t, ok)
		require.Equal(t, "https://api.example:443/hooks/dead", refused.Group)
		require.Equal(t, "api.example:443", refused.Host)
		require.ErrorContains(t, err, "circuit open for https://api.example:443/hooks/dead until ")
		for _, g := range groups {
			require.Equal(t, refused.Group, g)
		}

		for range 3 {
			require.NoError(t, do(t, tr, "https://api.example/hooks/well"))
		}
	})
}

func TestHostsHaveTheirOwnCircuits(t *testing.T) {
	t.Parallel()
	tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == "http" && r.URL.Host == "a.example" {
			return nil, errBroken
		}
		return answer(200, ""), nil
	}))
	tr.Policy = once()
	tr.Breaker = &retry.Breaker{MinCalls: 3, MaxGroups: 4, FailureRatio: 1}
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 50 {
				require.Error(t, do(t, tr, "http://a.example"))
				for _, url := range []string{"https://a.example", "http://A.example:8080", "http://b.example"} {
					require.NoError(t, do(t, tr, url), url)
				}
			}
		})
	}
	calls.Wait()
	require.ErrorIs(t, do(t, tr, "HTTP://A.example:80"), retry.ErrCircuitOpen, "however it is written")
}

func byPath(r *http.Request) string { return r.URL.Path }

func TestBudgetIsKeptByGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 2, PerSecond: -1})
		tr.Group = byPath
		for _, tc := range []struct {
			url      string
			attempts int
		}{
			{"http://a.example/one", 3},
			{"http://b.example/one", 1},
			{"http://a.example/two", 3},
		} {
			before := base.count()
			require.NoError(t, do(t, tr, tc.url))
			require.Equal(t, tc.attempts, base.count()-before, tc.url)
		}
	})
}

func TestHoldsAreKeptByGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(limited("rate_limit_exceeded"), status(200)))
		tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
		tr.Group = byPath
		after(t, tr, "http://a.example/one", "mine")
		require.Zero(t, after(t, tr, "http://a.example/two", "mine"))
		require.NotZero(t, after(t, tr, "http://b.example/one", "mine"))
	})
}

func TestDefaultGroupIsTheOrigin(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://api.example.com/v1?x=y":       "https://api.example.com:443",
		"HTTP://API.Example.com":               "http://api.example.com:80",
		"http://user:secret@api.example:8080/": "http://api.example:8080",
		"http://[::1]/":                        "http://[::1]:80",
		"http://[FE80::1]:81/":                 "http://[fe80::1]:81",
		"http+unix://Socket/v1":                "http+unix://socket",
	} {
		u, err := url.Parse(in)
		require.NoError(t, err)
		require.Equal(t, want, retry.Origin(u))
		for name, hook := range map[string]func(*http.Request) string{
			"no hook":         nil,
			"an empty result": func(*http.Request) string { return "" },
		} {
			tr := transport(scripted(status(200)))
			tr.Group = hook
			var got string
			tr.Observe = func(_ context.Context, e retry.Event) { got = e.Group }
			_ = do(t, tr, in)
			require.Equal(t, want, got, name)
		}
	}
}

func TestGroupIsCalledOncePerCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tr := transport(scripted(status(503, "Retry-After: 1"), status(503), status(200)))
		tr.Policy = &retry.Policy{HoldHost: true}
		tr.Observe = func(context.Context, retry.Event) {}
		tr.Group = func(*http.Request) string { asked++; return "" }
		require.NoError(t, do(t, tr, target))
		require.Equal(t, 1, asked)
	})
}

func TestPanicOfGroupLeaksNothing(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*retry.Transport){
		"for the breaker": func(*retry.Transport) {},
		"for the hold": func(tr *retry.Transport) {
			tr.Policy = &retry.Policy{HoldHost: true}
		},
		"for the budget": func(tr *retry.Transport) { tr.Breaker = &retry.Breaker{FailureRatio: -1} },
		"for an event": func(tr *retry.Transport) {
			tr.Breaker = &retry.Breaker{FailureRatio: -1}
			tr.Observe = func(context.Context, retry.Event) {}
		},
	} {
		base := scripted(status(503))
		tr := transport(base)
		set(tr)
		panics := true
		tr.Group = func(*http.Request) string {
			if panics {
				panic("group")
			}
			return "group"
		}
		sent := newBody("payload")
		require.PanicsWithValue(t, "group", func() {
			req := request(t, "POST", target, sent)
			req.GetBody = func() (io.ReadCloser, error) { return newBody("payload"), nil }
			resp, err := tr.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
		}, name)
		require.Equal(t, 1, sent.closed(), name)
		for _, b := range base.given {
			require.NotZero(t, b.closed(), name)
		}
		panics = false
		require.NoError(t, do(t, tr, target), name)
	}
}

func TestGroupMayUseTheTransport(t *testing.T) {
	t.Parallel()
	tr := transport(scripted(status(200)))
	tr.Policy = &retry.Policy{HoldHost: true}
	tr.Group = func(r *http.Request) string {
		if r.URL.Path == "/inner" {
			return "inner"
		}
		require.NoError(t, do(t, tr, "http://api.example/inner"))
		return "outer"
	}
	require.NoError(t, do(t, tr, "http://api.example/outer"))
}

func TestGroupsConcurrently(t *testing.T) {
	t.Parallel()
	tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Host, "dead") {
			return answer(503, "", "Retry-After: 1"), nil
		}
		return answer(200, ""), nil
	}))
	tr.Policy = &retry.Policy{BaseDelay: -1, HoldHost: true, MaxAttempts: 2, MaxRetryAfter: time.Nanosecond}
	tr.Breaker = &retry.Breaker{MinCalls: 2, MaxGroups: 4, ProbeAfter: 1}
	tr.Observe = func(context.Context, retry.Event) {}
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := range 300 {
				_ = do(t, tr, fmt.Sprintf("http://%s%d.example", []string{"dead", "well"}[n%2], (i+n)%7))
				switch n % 30 {
				case 7:
					tr.Breaker.Hold("by hand")
				case 17:
					tr.Breaker.Reset("by hand")
				case 27:
					for _, c := range tr.Breaker.Circuits() {
						_ = tr.Breaker.Circuit(c.Group)
					}
				}
			}
		})
	}
	callers.Wait()
	require.LessOrEqual(t, len(tr.Breaker.Circuits()), 5)
}
