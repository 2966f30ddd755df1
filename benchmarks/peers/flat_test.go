package peers_test

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

// service is a handler of ours that many clients call with many keys. The key is in one
// field of the header.
type service struct {
	name, method, field string
	handler             func() http.Handler
}

var services = []service{
	{"limit", http.MethodGet, "X-Api-Key", func() http.Handler {
		store := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1 << 20})
		rule := ratelimit.Rule{
			Limit: ratelimit.Per(1e9, time.Hour),
			Key:   ratelimit.ByHeader("X-Api-Key"),
		}
		return seawallChain(ratelimit.New(store, nil, rule)(noContent))
	}},
	{"replay", http.MethodPost, "Idempotency-Key", func() http.Handler {
		store := idempotent.NewMemory(&idempotent.MemoryOptions{MaxRecords: -1, MaxBytes: -1})
		once := idempotent.New(store, idempotent.Global, &idempotent.Options{Logger: quiet})
		return seawallChain(once(noContent))
	}},
}

// client returns an operation that sends a request with the next key, in an order that
// processor caches cannot predict.
func (s service) client(tb testing.TB, h http.Handler, keys []string) func() {
	const stride = 7919 // a prime that divides no number of keys here
	r, field, i := request(tb, s.method, "/v1/resources"), make([]string, 1), 0
	r.Header[s.field] = field
	op := serve(h, r)
	return func() {
		i = (i + stride) % len(keys)
		field[0] = keys[i]
		op()
	}
}

// known returns the operation of a client, after h has seen all of its keys.
func (s service) known(tb testing.TB, h http.Handler, keys []string) func() {
	op := s.client(tb, h, keys)
	for range keys {
		op()
	}
	return op
}

// BenchmarkKeys measures a request for several numbers of known keys.
func BenchmarkKeys(b *testing.B) {
	for _, s := range services {
		for _, n := range []int{1, 100, 10_000, 1_000_000} {
			b.Run(s.name+"/"+strconv.Itoa(n), func(b *testing.B) {
				op := s.known(b, s.handler(), manyKeys(n))
				runtime.GC() // frees the garbage of the first requests
				measure(b, op)
			})
		}
	}
}

// BenchmarkClients measures a request with 10,000 keys for several numbers of clients
// that send at the same time. It also measures a call for several numbers of goroutines
// that share a Transport.
func BenchmarkClients(b *testing.B) {
	keys := manyKeys(10_000)
	for _, s := range services {
		h := s.handler()
		s.known(b, h, keys)
		measureClients(b, s.name, func() func() { return s.client(b, h, keys) })
	}
	transport := &retry.Transport{Base: alwaysOK{}, Logger: quiet}
	measureClients(b, "call", func() func() {
		r := get(b)()
		return func() { must(transport.RoundTrip(r)).Body.Close() }
	})
}

func measureClients(b *testing.B, name string, client func() (op func())) {
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

// alwaysOK is a RoundTripper that any number of goroutines may use.
type alwaysOK struct{}

func (alwaysOK) RoundTrip(r *http.Request) (*http.Response, error) { return respondOK(r), nil }
