package peers_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/didip/tollbooth/v7"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/stretchr/testify/require"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ululimiter "github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ulumemory "github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// limiter is a middleware that allows each API key n requests per window, and sends the state of
// the limit in headers.
type limiter struct {
	name string
	wrap func(n int, window time.Duration) seawall.Middleware
}

// limiters are ours, with a Memory that has the given options, and the peers, configured
// as in their READMEs.
func limiters(o *ratelimit.MemoryOptions) []limiter {
	return []limiter{
		{"seawall", func(n int, window time.Duration) seawall.Middleware {
			rule := ratelimit.Rule{
				Limit: ratelimit.Per(n, window),
				Key:   ratelimit.ByHeader("X-Api-Key"),
			}
			return ratelimit.New(ratelimit.NewMemory(o), nil, rule)
		}},
		{"httprate", func(n int, window time.Duration) seawall.Middleware {
			return httprate.LimitBy(n, window, byAPIKey)
		}},
		{"ulule", func(n int, window time.Duration) seawall.Middleware {
			limit := ululimiter.Rate{Limit: int64(n), Period: window}
			byKey := func(r *http.Request) string { return r.Header.Get("X-Api-Key") }
			limiter := ululimiter.New(ulumemory.NewStore(), limit)
			return stdlib.NewMiddleware(limiter, stdlib.WithKeyGetter(byKey)).Handler
		}},
		{"tollbooth", func(n int, window time.Duration) seawall.Middleware {
			limiter := tollbooth.NewLimiter(float64(n)/window.Seconds(), nil)
			limiter.SetHeader("X-Api-Key", nil).SetBurst(n)
			return func(next http.Handler) http.Handler {
				return tollbooth.LimitHandler(limiter, next)
			}
		}},
		{"throttled", func(n int, window time.Duration) seawall.Middleware {
			return throttledLimiter(n, window).RateLimit
		}},
		{"sethvargo", func(n int, window time.Duration) seawall.Middleware {
			config := &memorystore.Config{Tokens: uint64(n), Interval: window}
			store := must(memorystore.New(config))
			return must(httplimit.NewMiddleware(store, byAPIKey)).Handle
		}},
	}
}

func throttledLimiter(n int, window time.Duration) *throttled.HTTPRateLimiterCtx {
	quota := throttled.RateQuota{MaxRate: throttled.PerDuration(n, window), MaxBurst: n - 1}
	store := must(memstore.NewCtx(65536))
	return &throttled.HTTPRateLimiterCtx{
		RateLimiter: must(throttled.NewGCRARateLimiterCtx(store, quota)),
		VaryBy:      &throttled.VaryBy{Headers: []string{"X-Api-Key"}},
	}
}

// manyKeys returns n API keys of 16 bytes.
func manyKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key_%012d", i)
	}
	return keys
}

// admitted sends the requests of 10,000 callers, who take turns. The limiter already
// knows the callers, and each is allowed 1,000 requests a second.
func admitted() []side {
	var sides []side
	for _, l := range limiters(nil) {
		sides = append(sides, side{l.name, func(tb testing.TB) func() {
			return admit(tb, l.wrap(1000, time.Second)(noContent))
		}})
	}
	return append(sides, side{"bare", func(tb testing.TB) func() { return admit(tb, noContent) }})
}

func admit(tb testing.TB, h http.Handler) func() {
	keys, field, i := manyKeys(10_000), make([]string, 1), 0
	r := request(tb, http.MethodGet, "/v1/resources")
	r.Header["X-Api-Key"] = field
	w := &discard{header: make(http.Header)}
	op := func() {
		field[0] = keys[i]
		i = (i + 1) % len(keys)
		clear(w.header)
		h.ServeHTTP(w, r)
		if w.status != http.StatusNoContent {
			panic(http.StatusText(w.status))
		}
	}
	for range keys {
		op()
	}
	return op
}

// deniers refuse requests with the same JSON error, which has the request's id. They are
// our middleware, and peers with an error that is written by hand.
func deniers() []limiter {
	return []limiter{
		{"seawall", func(n int, window time.Duration) seawall.Middleware {
			limit := limiters(nil)[0].wrap(n, window)
			return seawall.Chain(seawall.RequestID(nil), limit)
		}},
		{"httprate", func(n int, window time.Duration) seawall.Middleware {
			limit := httprate.LimitBy(n, window, byAPIKey, httprate.WithLimitHandler(deny))
			return seawall.Chain(middleware.RequestID, announceID, limit)
		}},
		{"throttled", func(n int, window time.Duration) seawall.Middleware {
			limiter := throttledLimiter(n, window)
			limiter.DeniedHandler = http.HandlerFunc(deny)
			return seawall.Chain(middleware.RequestID, announceID, limiter.RateLimit)
		}},
	}
}

func deny(w http.ResponseWriter, r *http.Request) {
	writeError(w, r, http.StatusTooManyRequests, rateLimited)
}

// denied sends the requests of one caller, who may send one request an hour and has
// already sent it.
func denied() []side {
	var sides []side
	for _, l := range deniers() {
		sides = append(sides, side{l.name, func(tb testing.TB) func() {
			h := l.wrap(1, time.Hour)(noContent)
			op := serve(h, request(tb, http.MethodGet, "/v1/resources"))
			op()
			return op
		}})
	}
	return sides
}

func BenchmarkAdmitted(b *testing.B) { compare(b, admitted()) }
func BenchmarkDenied(b *testing.B)   { compare(b, denied()) }

func TestLimitersAdmitAndRefuseAlike(t *testing.T) {
	t.Parallel()
	for _, l := range limiters(nil) {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			h := l.wrap(1, time.Hour)(noContent)

			first := answer(h, request(t, http.MethodGet, "/v1/resources"))
			second := answer(h, request(t, http.MethodGet, "/v1/resources"))

			require.Equal(t, http.StatusNoContent, first.Code)
			require.Equal(t, []string{"the limit"}, fields(first.Header()))
			require.Equal(t, http.StatusTooManyRequests, second.Code)
			require.Contains(t, fields(second.Header()), "the limit")
		})
	}
}

func TestDenialsAreAlike(t *testing.T) {
	t.Parallel()
	var answers []*httptest.ResponseRecorder
	for _, l := range deniers() {
		h := l.wrap(1, time.Hour)(noContent)
		answer(h, request(t, http.MethodGet, "/v1/resources")) // the one that is allowed
		answers = append(answers, answer(h, request(t, http.MethodGet, "/v1/resources")))
	}
	require.Equal(t, http.StatusTooManyRequests, answers[0].Code)
	require.NotEmpty(t, answers[0].Header().Get("Retry-After"))
	sameAnswer(t, answers[0], answers[1])
	sameAnswer(t, answers[0], answers[2])
}
