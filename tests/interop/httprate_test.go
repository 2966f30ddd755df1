package interop_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/httprate"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// byHeader is the key of both limiters.
func byHeader(r *http.Request) (string, error) {
	if r.Header.Get("Tenant") == "broken" {
		return "", errors.New("tenant 7 of db-3 is unknown")
	}
	return r.Header.Get("Tenant"), nil
}

// The two limiters that docs/RECIPES.md compares, with 10 requests a minute.
func oldLimit() seawall.Middleware { return httprate.LimitBy(10, time.Minute, byHeader) }

func newLimit(burst int) seawall.Middleware {
	limit := ratelimit.Limit{Quota: 10, Window: time.Minute, Burst: burst}
	return ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{LegacyHeaders: true, Logger: discard},
		ratelimit.Rule{Limit: limit, Key: byHeader})
}

func limited(limit seawall.Middleware) http.Handler {
	stack := &seawall.Stack{Logger: discard, RateLimit: limit}
	return stack.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
}

func asTenant(h http.Handler, tenant string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Tenant", tenant)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A window admits its number. A bucket also admits what comes back meanwhile.
func TestBucketAdmitsMoreThanAWindowInTheFirstMinute(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		limit    func() seawall.Middleware
		admitted []int // in the first and the second minute, of 60 requests each
	}{
		{"httprate", oldLimit, []int{10, 10}},
		{"bucket", func() seawall.Middleware { return newLimit(0) }, []int{19, 10}},
		{"bucket with a burst of 1", func() seawall.Middleware { return newLimit(1) }, []int{10, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := limited(tt.limit())
				admitted := make([]int, 2)
				for second := range 120 {
					if asTenant(h, "a").Code == 204 {
						admitted[second/60]++
					}
					time.Sleep(time.Second)
				}
				require.Equal(t, tt.admitted, admitted)
			})
		})
	}
}

func TestDenialsOfHTTPRateAndOfABucket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name              string
		limit             func() seawall.Middleware
		body              string
		retryAfter, reset string // reset is of X-RateLimit-Reset
		broken            int    // the status if the key has an error
		leaks             bool   // whether the client sees the text of this error
		none              int    // the status if there is no key
	}{
		{
			"httprate", oldLimit, "Too Many Requests",
			"60", strconv.FormatInt(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC).Unix(), 10), 428, true, 204,
		},
		{"seawall", func() seawall.Middleware { return newLimit(0) }, `"code":"rate_limit_exceeded"`, "6", "60", 500, false, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := limited(tt.limit())
				for range 10 {
					require.Equal(t, 204, asTenant(h, "a").Code)
				}

				w := asTenant(h, "a")
				require.Equal(t, 429, w.Code)
				require.Contains(t, w.Body.String(), tt.body)
				require.Equal(t, tt.retryAfter, w.Header().Get("Retry-After"))
				require.Equal(t, tt.reset, w.Header().Get("X-RateLimit-Reset"))

				w = asTenant(h, "broken")
				require.Equal(t, tt.broken, w.Code)
				require.Equal(t, tt.leaks, w.Body.String() == "tenant 7 of db-3 is unknown\n")

				require.Equal(t, tt.none, asTenant(h, "").Code)
			})
		})
	}
}

// httprate.KeyByRealIP believes what a client says about its address.
func TestClientDoesNotChooseItsAddress(t *testing.T) {
	t.Parallel()
	proxy := ratelimit.ByForwardedFor(netip.MustParsePrefix("10.0.0.0/8"))
	for _, tt := range []struct {
		name   string
		limit  seawall.Middleware
		second int // status of the second request
	}{
		{"httprate", httprate.LimitBy(1, time.Hour, httprate.KeyByRealIP), 204}, //nolint:staticcheck // services still have it
		{"seawall", ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Limit: ratelimit.PerHour(1), Key: proxy}), 429},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := limited(tt.limit)
			status := 0
			for _, address := range []string{"198.51.100.1", "198.51.100.2"} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.RemoteAddr = "10.0.0.1:1234"
				r.Header.Set("X-Forwarded-For", address+", 203.0.113.7") // the proxy has added the second one
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				status = w.Code
			}
			require.Equal(t, tt.second, status)
		})
	}
}
