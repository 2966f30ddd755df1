package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/ratelimit"
)

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// get sends a request with an API key and returns the answer.
func get(h http.Handler, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return serve(h, r)
}

// serve returns what h answers. The code is 0 where nobody answered: a plain recorder says 200,
// also for a handler that never ran.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	w.Code = 0
	h.ServeHTTP(w, r)
	return w
}

func TestExactlyTheLimitIsAdmittedAtOneInstant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByAPIKey})
		var admitted atomic.Int64
		h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { admitted.Add(1) }))
		burst := func(each int) {
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					r := request("Authorization", "Bearer sk_1")
					for range each {
						h.ServeHTTP(&discard{http.Header{}}, r)
					}
				})
			}
			wg.Wait()
		}
		burst(1000)
		require.EqualValues(t, 100, admitted.Load())

		time.Sleep(250 * time.Millisecond)
		burst(10)
		require.EqualValues(t, 125, admitted.Load())
	})
}

// discard is a ResponseWriter that costs nothing itself.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

func TestFieldsOnAdmissionAndDenial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerMinute(2), Key: ratelimit.ByAPIKey})
		s := memhttp.New(limit(ok))
		defer s.Close()
		send := func(method string) *http.Response {
			r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
			require.NoError(t, err)
			r.Header.Set("X-Api-Key", "sk_1")
			resp, err := s.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			return resp
		}

		resp := send(http.MethodGet)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, []string{`"default";q=2;w=60`}, resp.Header.Values("RateLimit-Policy"))
		require.Equal(t, []string{`"default";r=1;t=30`}, resp.Header.Values("RateLimit"))
		require.Empty(t, resp.Header.Values("Retry-After"))

		resp = send(http.MethodHead)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, `"default";r=0;t=30`, resp.Header.Get("RateLimit"))

		time.Sleep(10500 * time.Millisecond)
		resp = send(http.MethodHead)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		require.Equal(t, `"default";r=0;t=20`, resp.Header.Get("RateLimit"))
		require.Equal(t, []string{"20"}, resp.Header.Values("Retry-After"))

		time.Sleep(20 * time.Second)
		require.Equal(t, http.StatusOK, send(http.MethodGet).StatusCode)
	})
}

func TestMissingKeyIsRefusedWith401(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]ratelimit.KeyFunc{
		"principal":    ratelimit.ByPrincipal,
		"API key":      ratelimit.ByAPIKey,
		"header":       ratelimit.ByHeader("X-Account"),
		"empty string": func(*http.Request) (string, error) { return "", nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Key: key})
			w := get(limit(ok), "")
			require.Equal(t, http.StatusUnauthorized, w.Code)
			require.Contains(t, w.Body.String(), `"code":"authentication_failed"`)
		})
	}
}

func TestPrincipalsHaveBucketsOfTheirOwn(t *testing.T) {
	t.Parallel()
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal})
	h := limit(ok)
	as := func(principal string) int {
		r := reqstate.WithPrincipal(httptest.NewRequest(http.MethodGet, "/", nil), principal)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 200, as("a"))
	require.Equal(t, 200, as("b"))
	require.Equal(t, 429, as("a"))
	require.Equal(t, 429, as("b"))
}
