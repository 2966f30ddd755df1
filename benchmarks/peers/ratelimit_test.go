package peers_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/didip/tollbooth/v7"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/go-chi/httprate"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ululimiter "github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ulumemory "github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// limited is a rate-limit middleware, keyed by the X-Api-Key field, that allows n requests per window to each key. Most of
// them need n at construction and say no otherwise.
type limited struct {
	name string
	wrap func(n int, window time.Duration) func(http.Handler) http.Handler
}

// limiters are ours, first, and the peers. The last sends no headers, and has one bucket for all.
func limiters(o *ratelimit.MemoryOptions) []limited {
	return []limited{
		{"seawall", func(n int, window time.Duration) func(http.Handler) http.Handler {
			limit := ratelimit.New(ratelimit.NewMemory(o), nil,
				ratelimit.Rule{Limit: ratelimit.Per(n, window), Key: ratelimit.ByHeader("X-Api-Key")})
			return seawall.Chain(limit)
		}},
		{"httprate", func(n int, window time.Duration) func(http.Handler) http.Handler {
			return httprate.LimitBy(n, window, func(r *http.Request) (string, error) { return r.Header.Get("X-Api-Key"), nil })
		}},
		{"ulule", func(n int, window time.Duration) func(http.Handler) http.Handler {
			limiter := ululimiter.New(ulumemory.NewStore(), ululimiter.Rate{Limit: int64(n), Period: window})
			byKey := stdlib.WithKeyGetter(func(r *http.Request) string { return r.Header.Get("X-Api-Key") })
			return stdlib.NewMiddleware(limiter, byKey).Handler
		}},
		{"tollbooth", func(n int, window time.Duration) func(http.Handler) http.Handler {
			limiter := tollbooth.NewLimiter(float64(n)/window.Seconds(), nil).SetHeader("X-Api-Key", nil)
			limiter.SetBurst(max(n, 1))
			return func(next http.Handler) http.Handler { return tollbooth.LimitHandler(limiter, next) }
		}},
		{"throttled", func(n int, window time.Duration) func(http.Handler) http.Handler {
			quota := throttled.RateQuota{MaxRate: throttled.PerDuration(n, window), MaxBurst: n - 1}
			limiter := must(throttled.NewGCRARateLimiterCtx(must(memstore.NewCtx(65536)), quota))
			byKey := &throttled.VaryBy{Headers: []string{"X-Api-Key"}}
			return (&throttled.HTTPRateLimiterCtx{RateLimiter: limiter, VaryBy: byKey}).RateLimit
		}},
		{"sethvargo", func(n int, window time.Duration) func(http.Handler) http.Handler {
			store := must(memorystore.New(&memorystore.Config{Tokens: uint64(n), Interval: window}))
			byKey := func(r *http.Request) (string, error) { return r.Header.Get("X-Api-Key"), nil }
			return must(httplimit.NewMiddleware(store, byKey)).Handle
		}},
		{"failsafe", func(n int, window time.Duration) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return failsafehttp.NewHandler(next, ratelimiter.NewBursty[*http.Response](uint(n), window))
			}
		}},
	}
}

// keyedLimiters are those that tell callers apart.
func keyedLimiters(o *ratelimit.MemoryOptions) []limited { return limiters(o)[:6] }

// admitted sends the requests of 10,000 callers, who are known and in turn, through middlewares that allow each 1,000 a second.
func admitted() []contender {
	over := func(h http.Handler, r *http.Request) func() {
		keys, field, i, w := keyed16(10_000), make([]string, 1), 0, newDiscard()
		r.Header["X-Api-Key"] = field
		op := func() {
			if i++; i == len(keys) {
				i = 0
			}
			field[0] = keys[i]
			w.reset()
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
	var contenders []contender
	for _, l := range keyedLimiters(nil) {
		contenders = append(contenders, contender{l.name, func(tb testing.TB) func() {
			return over(l.wrap(1000, time.Second)(handler), request(tb, http.MethodGet))
		}})
	}
	return append(contenders, contender{"bare", func(tb testing.TB) func() { return over(handler, request(tb, http.MethodGet)) }})
}

// refused sends one caller's requests, each of which has an id already, to middlewares that have allowed it one in this hour.
func refused() []contender {
	var contenders []contender
	for _, l := range limiters(nil) {
		contenders = append(contenders, contender{l.name, func(tb testing.TB) func() {
			op := serve(l.wrap(1, time.Hour)(handler), identified(request(tb, http.MethodGet)))
			op()
			return op
		}})
	}
	return contenders
}

func BenchmarkAdmitted(b *testing.B) { compare(b, admitted()) }
func BenchmarkDenied(b *testing.B)   { compare(b, refused()) }
