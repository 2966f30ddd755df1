package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// httputil.ReverseProxy clears the header after a 1xx (golang/go#81207).
func TestFieldsAreInTheResponseAfterEarlyHints(t *testing.T) {
	t.Parallel()
	limit := func(name string) func(http.Handler) http.Handler {
		return ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{LegacyHeaders: true}, ratelimit.Rule{
			Name:  name,
			Limit: ratelimit.Per(10, time.Minute),
			Key:   func(*http.Request) (string, error) { return "a", nil },
		})
	}
	proxy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
		w.WriteHeader(http.StatusOK)
	})
	// A ResponseRecorder takes the 1xx for the response.
	server := httptest.NewServer(seawall.Chain(seawall.RequestID(nil), limit("outer"), limit("inner"))(proxy))
	t.Cleanup(server.Close)

	resp, err := server.Client().Get(server.URL)

	require.NoError(t, err)
	defer resp.Body.Close()
	header := resp.Header
	require.Equal(t, []string{`"outer";q=10;w=60, "inner";q=10;w=60`}, header["Ratelimit-Policy"])
	require.Equal(t, []string{`"outer";r=9;t=6, "inner";r=9;t=6`}, header["Ratelimit"])
	for _, field := range []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"} {
		require.Len(t, header[field], 1, field)
	}
}

// onlyWriter hides all other methods of a ResponseWriter.
type onlyWriter struct{ http.ResponseWriter }

// Between two limits there may be writers and middleware of other packages.
func TestFieldsAreSetOnceAfterEarlyHints(t *testing.T) {
	t.Parallel()
	limit := func(name string, n int) seawall.Middleware {
		return ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{LegacyHeaders: true}, ratelimit.Rule{
			Name:  name,
			Limit: ratelimit.Per(n, time.Minute),
			Key:   func(*http.Request) (string, error) { return "a", nil },
		})
	}
	writer := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(onlyWriter{w}, r) })
	}
	third := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit-Policy", w.Header().Get("RateLimit-Policy")+`,"third";q=7;w=60`)
			w.Header().Set("RateLimit", w.Header().Get("RateLimit")+`,"third";r=6;t=9`)
			next.ServeHTTP(w, r)
		})
	}
	id := seawall.RequestID(nil)
	outer, inner := limit("outer, \"all\"", 200), limit("inner", 50)
	for name, row := range map[string]struct {
		chain seawall.Middleware
		names []string
	}{
		"a writer":                  {seawall.Chain(id, outer, writer, id, inner), []string{"outer, \"all\"", "inner"}},
		"a middleware":              {seawall.Chain(id, outer, third, inner), []string{"outer, \"all\"", "third", "inner"}},
		"a writer and a middleware": {seawall.Chain(id, outer, writer, third, id, inner), []string{"outer, \"all\"", "third", "inner"}},
		"two writers":               {seawall.Chain(id, outer, writer, id, writer, id, inner), []string{"outer, \"all\"", "inner"}},
	} {
		for _, clears := range []bool{false, true} {
			server := httptest.NewServer(row.chain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				if clears {
					clear(w.Header())
				}
			})))
			t.Cleanup(server.Close)

			resp, err := server.Client().Get(server.URL)

			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
			policies, _ := readField(t, resp.Header, "RateLimit-Policy", "q", "w")
			require.Equal(t, row.names, policies, "%s, cleared: %v", name, clears)
			states, _ := readField(t, resp.Header, "RateLimit", "r", "t")
			require.Equal(t, row.names, states, "%s, cleared: %v", name, clears)
			for _, field := range []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Request-Id", "X-Request-Id"} {
				require.Len(t, resp.Header[field], 1, "%s of %s, cleared: %v", field, name, clears)
			}
		}
	}
}
