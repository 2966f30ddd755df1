package peers_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// limitedService is what a request costs that has its id, is tracked, limited by key, and succeeds.
func limitedService() http.Handler {
	limit := ratelimit.New(ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1 << 20}),
		ratelimit.Rule{Limit: ratelimit.Per(1e9, time.Hour), Key: ratelimit.ByHeader("X-Api-Key")})
	return seawall.Chain(seawall.RequestID(nil), seawall.Recover(quiet), limit)(handler)
}

// requests goes through the keys, one request each, in an order that no cache can foresee.
func requests(tb testing.TB, h http.Handler, keys []string) func() {
	const stride = 7919 // a prime, which divides no number of keys here
	r, field, i := request(tb, http.MethodGet), make([]string, 1), 0
	r.Header["X-Api-Key"] = field
	op := serve(h, r)
	return func() {
		i = (i + stride) % len(keys)
		field[0] = keys[i]
		op()
	}
}

// The cost of a request, when so many keys are known.
func BenchmarkKeys(b *testing.B) {
	h := limitedService()
	for _, n := range []int{1, 100, 10_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			op := requests(b, h, keyed16(n))
			for range n {
				op()
			}
			measure(b, op)
		})
	}
}

// The same, when so many clients send requests with 10,000 keys at once.
func BenchmarkClients(b *testing.B) {
	h, keys := limitedService(), keyed16(10_000)
	for clients := 1; clients <= 64; clients *= 2 {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			before := processorTime()
			var wg sync.WaitGroup
			for c := range clients {
				op := requests(b, h, keys)
				wg.Go(func() {
					for range (b.N + c) / clients {
						op()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
