package sdktest_test

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// outcome is what a call costs, and what its caller gets.
type outcome struct {
	requests, keys int
	status         int           // 0 if the caller gets no response
	pause          time.Duration // before the second request, at least; 0 if there is none
}

// The differences that docs/RECIPES.md lists between go-retryablehttp and package retry.
func TestDifferencesFromRetryableHTTP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		method   string
		stream   bool        // the body is not in memory
		header   http.Header // of the response
		status   int
		policy   retry.Policy
		old, new outcome
	}{
		{
			name: "attempts, and the last response", method: http.MethodGet, status: 503,
			old: outcome{requests: 5, pause: time.Second},
			new: outcome{requests: 3, status: 503},
		},
		{
			name: "as many attempts", method: http.MethodGet, status: 503,
			policy: retry.Policy{MaxAttempts: 5},
			old:    outcome{requests: 5, pause: time.Second},
			new:    outcome{requests: 5, status: 503},
		},
		{
			name: "write", method: http.MethodPost, status: 503,
			old: outcome{requests: 5, pause: time.Second},
			new: outcome{requests: 3, keys: 1, status: 503},
		},
		{
			name: "write for a server that ignores keys", method: http.MethodPost, status: 503,
			policy: retry.Policy{Keys: retry.KeysCallerOnly},
			old:    outcome{requests: 5, pause: time.Second},
			new:    outcome{requests: 1, status: 503},
		},
		{
			name: "body that is not in memory", method: http.MethodPost, stream: true, status: 503,
			old: outcome{requests: 5, pause: time.Second},
			new: outcome{requests: 1, keys: 1, status: 503},
		},
		{
			name: "body that is recorded", method: http.MethodPost, stream: true, status: 503,
			policy: retry.Policy{RecordBody: 1 << 10},
			old:    outcome{requests: 5, pause: time.Second},
			new:    outcome{requests: 3, keys: 1, status: 503},
		},
		{
			name: "429", method: http.MethodGet, status: 429,
			old: outcome{requests: 5, pause: time.Second},
			new: outcome{requests: 3, status: 429},
		},
		{
			name: "501", method: http.MethodGet, status: 501,
			old: outcome{requests: 1, status: 501},
			new: outcome{requests: 1, status: 501},
		},
		{
			name: "Retry-After of a 503", method: http.MethodGet, status: 503, header: http.Header{"Retry-After": {"7"}},
			old: outcome{requests: 5, pause: 7 * time.Second},
			new: outcome{requests: 3, status: 503, pause: 7 * time.Second},
		},
		{
			name: "Retry-After of a 500", method: http.MethodGet, status: 500, header: http.Header{"Retry-After": {"7"}},
			old: outcome{requests: 5, pause: time.Second},
			new: outcome{requests: 3, status: 500, pause: 7 * time.Second},
		},
		{
			name: "long Retry-After", method: http.MethodGet, status: 503, header: http.Header{"Retry-After": {"3600"}},
			old: outcome{requests: 5, pause: time.Hour},
			new: outcome{requests: 1, status: 503},
		},
		{
			name: "X-Should-Retry", method: http.MethodGet, status: 503, header: http.Header{"X-Should-Retry": {"false"}},
			old: outcome{requests: 5, pause: time.Second},
			new: outcome{requests: 1, status: 503},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), tt.header)
				w.WriteHeader(tt.status)
			}
			outcomeOf := func(t *testing.T, client func(http.RoundTripper) *http.Client) (got outcome) {
				synctest.Test(t, func(t *testing.T) { got = measure(t, answer, client, tt.method, tt.stream) })
				return got
			}
			old := outcomeOf(t, hashicorp)
			require.Equal(t, tt.old, old)
			got := outcomeOf(t, func(base http.RoundTripper) *http.Client { return seawalled(base, tt.policy) })
			if tt.new.pause == 0 { // it is random
				got.pause = 0
			}
			require.GreaterOrEqual(t, got.pause, tt.new.pause)
			require.LessOrEqual(t, got.pause, tt.new.pause+tt.new.pause/4)
			got.pause = tt.new.pause
			require.Equal(t, tt.new, got)
		})
	}
}

// The Timeout of go-retryablehttp's client limits each attempt. That of a client with a Transport
// limits the call, and Policy.AttemptTimeout limits each attempt.
func TestTimeoutsLimitTheCallOrTheAttempt(t *testing.T) {
	t.Parallel()
	hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, tt := range []struct {
		name     string
		client   func(http.RoundTripper) *http.Client
		requests int
	}{
		{"go-retryablehttp", func(base http.RoundTripper) *http.Client {
			c := retryablehttp.NewClient()
			c.HTTPClient = &http.Client{Transport: base, Timeout: time.Second}
			c.Logger = nil
			return c.StandardClient()
		}, 5},
		{"http.Client.Timeout", func(base http.RoundTripper) *http.Client {
			c := seawalled(base, retry.Policy{})
			c.Timeout = time.Second
			return c
		}, 1},
		{"AttemptTimeout", func(base http.RoundTripper) *http.Client {
			return seawalled(base, retry.Policy{AttemptTimeout: time.Second})
		}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := measure(t, hangs, tt.client, http.MethodGet, false)

				require.Equal(t, tt.requests, got.requests)
				require.Zero(t, got.status)
			})
		})
	}
}

func hashicorp(base http.RoundTripper) *http.Client {
	c := retryablehttp.NewClient()
	c.HTTPClient.Transport = base
	c.Logger = nil
	return c.StandardClient()
}

func seawalled(base http.RoundTripper, policy retry.Policy) *http.Client {
	return &http.Client{Transport: &retry.Transport{Base: base, Policy: &policy, Logger: slog.New(slog.DiscardHandler)}}
}

// measure makes a call in a bubble.
func measure(t *testing.T, answer http.HandlerFunc, client func(http.RoundTripper) *http.Client, method string, stream bool,
) (got outcome) {
	t.Helper()
	var first time.Time
	keys := map[string]bool{}
	server := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.requests++
		switch got.requests {
		case 1:
			first = time.Now()
		case 2:
			got.pause = time.Since(first)
		}
		if key := r.Header.Get("Idempotency-Key"); key != "" {
			keys[key] = true
		}
		answer(w, r)
	}))
	defer server.Close()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("Ada")
	}
	if stream {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL, body)
	require.NoError(t, err)
	resp, err := client(server.Transport()).Do(req)
	if err == nil {
		resp.Body.Close()
		got.status = resp.StatusCode
	}
	got.keys = len(keys)
	return got
}
