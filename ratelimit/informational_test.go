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

// httputil.ReverseProxy clears the header after a 1xx of its back end: golang/go#81207.
func TestFieldsAreInTheResponseThatFollowsEarlyHints(t *testing.T) {
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
