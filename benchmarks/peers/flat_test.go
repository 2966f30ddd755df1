package peers_test

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// A service is one of which many clients ask, with many keys: around is what stands in front of its handler.
type service struct {
	name, method, field string
	around              func() http.Handler
}

var services = []service{
	{"limit", http.MethodGet, "X-Api-Key", func() http.Handler {
		limit := ratelimit.New(ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1 << 20}), nil,
			ratelimit.Rule{Limit: ratelimit.Per(1e9, time.Hour), Key: ratelimit.ByHeader("X-Api-Key")})
		return seawall.Chain(seawall.RequestID(nil), seawall.Recover(quiet), limit)(handler)
	}},
	{"replay", http.MethodPost, "Idempotency-Key", func() http.Handler {
		store := idempotent.NewMemory(&idempotent.MemoryOptions{MaxRecords: -1, MaxBytes: -1})
		once := idempotent.New(store, idempotent.Global, &idempotent.Options{Logger: quiet})
		return seawall.Chain(seawall.RequestID(nil), seawall.Recover(quiet), once)(handler)
	}},
}

// requests goes through the keys, one request each, in an order that no cache can foresee.
func (s service) requests(tb testing.TB, h http.Handler, keys []string) func() {
	const stride = 7919 // a prime, which divides no number of keys here
	r, field, i := request(tb, s.method), make([]string, 1), 0
	r.Header[s.field] = field
	op := serve(h, r)
	return func() {
		i = (i + stride) % len(keys)
		field[0] = keys[i]
		op()
	}
}

// known is a client of a service that has seen all of the keys.
func (s service) known(tb testing.TB, h http.Handler, keys []string) func() {
	op := s.requests(tb, h, keys)
	for range keys {
		op()
	}
	return op
}

// The cost of a request, when so many keys are known.
func BenchmarkKeys(b *testing.B) {
	for _, s := range services {
		for _, n := range []int{1, 100, 10_000, 1_000_000} {
			b.Run(s.name+"/"+strconv.Itoa(n), func(b *testing.B) {
				op := s.known(b, s.around(), keyed16(n))
				runtime.GC() // what a million keys left behind
				measure(b, op)
			})
		}
	}
}

// The same, when so many clients send requests with 10,000 keys at once; and that of a call, when as many goroutines share a
// Transport.
func BenchmarkClients(b *testing.B) {
	keys := keyed16(10_000)
	for _, s := range services {
		h := s.around()
		s.known(b, h, keys)
		clients(b, s.name, func() func() { return s.requests(b, h, keys) })
	}
	transport := &retry.Transport{Base: answers{}, Logger: quiet}
	clients(b, "call", func() func() {
		r := get(b)()
		return func() {
			resp, err := transport.RoundTrip(r)
			if err != nil {
				panic(err)
			}
			resp.Body.Close()
		}
	})
}

func clients(b *testing.B, name string, client func() (op func())) {
	for n := 1; n <= 64; n *= 2 {
		b.Run(name+"/"+strconv.Itoa(n), func(b *testing.B) {
			before := processorTime()
			var wg sync.WaitGroup
			for c := range n {
				op := client()
				wg.Go(func() {
					for range (b.N + c) / n {
						op()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// answers is a RoundTripper that succeeds.
type answers struct{}

func (answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: okHeader, Body: http.NoBody, Request: r}, nil
}
