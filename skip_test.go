package seawall_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// Exempt requests and all others reach their handler. The calls are counted, because a
// recorder has status 200 even if no handler ran.
func TestSkippedRequestsReachTheirHandlers(t *testing.T) {
	t.Parallel()
	skip := func(r *http.Request) bool { return r.Header.Get("Skip") != "" }
	memory := func() *ratelimit.Memory { return ratelimit.NewMemory(nil) }
	rule := ratelimit.Rule{Limit: ratelimit.PerHour(100), Key: everybody, Skip: skip}
	for name, chain := range map[string]seawall.Middleware{
		"Stack without bounds": (&seawall.Stack{Logger: discard, Skip: skip}).Handler,
		"Stack": (&seawall.Stack{
			Logger: discard, Skip: skip, Timeout: time.Hour, MaxBody: 100, MaxInFlight: 1, Authenticate: as("acct_1"),
			AddressLimit: ratelimit.New(memory(), nil, ratelimit.Rule{Limit: ratelimit.PerHour(100), Key: everybody}),
			RateLimit:    ratelimit.New(memory(), nil, ratelimit.Rule{Limit: ratelimit.PerHour(100), Key: everybody}),
			Idempotency:  idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
		}).Handler,
		"Stack.NoTimeout":                        (&seawall.Stack{Logger: discard, NoTimeout: skip, Timeout: time.Hour}).Handler,
		"Stack.NoTimeout without a timeout":      (&seawall.Stack{Logger: discard, NoTimeout: skip}).Handler,
		"ratelimit.Rule.Skip":                    ratelimit.New(memory(), nil, rule),
		"ratelimit.ConcurrentOptions.Skip":       ratelimit.MaxConcurrent(1, everybody, &ratelimit.ConcurrentOptions{Skip: skip}),
		"ratelimit.ShedOptions.Skip":             ratelimit.Shed(1, nil, &ratelimit.ShedOptions{Skip: skip}),
		"idempotent.Options.Skip":                idempotent.New(idempotent.NewMemory(nil), everybody, &idempotent.Options{Skip: skip}),
		"idempotent.Options.Skip below a Stack":  seawall.Chain((&seawall.Stack{Logger: discard}).Handler, idempotent.New(idempotent.NewMemory(nil), everybody, &idempotent.Options{Skip: skip})),
		"ratelimit.Rule.Skip of a settled limit": ratelimit.New(memory(), nil, ratelimit.Rule{Limit: ratelimit.PerHour(100), Key: everybody, Skip: skip, Settled: true}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := 0
			h := chain(plain(func(http.ResponseWriter, *http.Request) { reached++ }))
			for i, exempt := range []string{"", "yes", "", "yes", "yes"} {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body"))
				r.Header.Set("Skip", exempt)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, i+1, reached, "Skip: %q", exempt)
			}
		})
	}
}

func TestSkippedRequestsAreNotBounded(t *testing.T) {
	t.Parallel()
	reached := 0
	refused := 0
	refuse := func(http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, _ *http.Request) {
			refused++
			w.WriteHeader(http.StatusTooManyRequests)
		})
	}
	h := (&seawall.Stack{
		Logger: discard, MaxBody: 1, Timeout: time.Nanosecond, MaxInFlight: 1, AddressLimit: refuse, RateLimit: refuse, Idempotency: refuse,
		Skip: func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	}).Handler(plain(func(w http.ResponseWriter, r *http.Request) {
		reached++
		_, deadline := r.Context().Deadline()
		require.False(t, deadline)
		w.WriteHeader(http.StatusNoContent)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/healthz", strings.NewReader("too long")))
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, 1, reached)
	require.Zero(t, refused)
}

func TestNoTimeoutExemptsOnlyFromTheTimeout(t *testing.T) {
	t.Parallel()
	h := (&seawall.Stack{
		Logger:    discard,
		Timeout:   time.Second,
		NoTimeout: func(r *http.Request) bool { return r.URL.Path == "/stream" },
		MaxBody:   1,
	}).Handler(plain(func(w http.ResponseWriter, r *http.Request) {
		_, deadline := r.Context().Deadline()
		fmt.Fprint(w, "deadline: ", deadline)
	}))
	for _, row := range []struct {
		path, body, want string
	}{
		{"/", "", "deadline: true"},
		{"/stream", "", "deadline: false"},
		{"/stream", "too long", `"code":"request_too_large"`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, row.path, strings.NewReader(row.body)))
		require.Contains(t, w.Body.String(), row.want)
	}
}
