//go:build !race

package retry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestAllocationsOfACall(t *testing.T) {
	answered := answer(200, "")
	answered.Body = http.NoBody
	base := baseFunc(func(*http.Request) (*http.Response, error) { return answered, nil })
	payload := bytes.Repeat([]byte("x"), 1<<20)
	get := request(t, "GET", target, nil)
	post := request(t, "POST", target, bytes.NewReader(payload))
	keyed := request(t, "POST", target, bytes.NewReader(payload))
	keyed.Header.Set("Idempotency-Key", "order-7")

	for _, tc := range []struct {
		name  string
		tr    *retry.Transport
		req   *http.Request
		count float64
		bytes uint64
	}{
		{"GET", &retry.Transport{Base: base}, get, 2, 100},
		{"GET, no breaker", &retry.Transport{Base: base, Breaker: &retry.Breaker{FailureRatio: -1}}, get, 1, 50},
		{"POST with the caller's key", &retry.Transport{Base: base}, keyed, 2, 100},
		{"POST with a new key", &retry.Transport{Base: base}, post, 7, 1 << 10},
		{"GET, 503 first", faltering(base), get, 29, 4 << 10}, // three of them are Base's
		{"GET, 404 without an error object, observed", notFound(), get, 12, 2 << 10},
	} {
		send := func() {
			resp, err := tc.tr.RoundTrip(tc.req)
			if err != nil || resp == nil {
				t.Error(err)
			}
		}
		got := testing.AllocsPerRun(1000, send)
		size := bytesPerRun(1000, send)
		t.Logf("%-28s %2.0f allocations, %5d bytes", tc.name, got, size)
		require.LessOrEqual(t, got, tc.count, tc.name)
		require.LessOrEqual(t, size, tc.bytes, tc.name)
	}
}

// faltering returns a transport on which every other attempt fails with a 503.
func faltering(base http.RoundTripper) *retry.Transport {
	header := http.Header{"Content-Type": {"application/json"}}
	body := []byte(errorBody("service_unavailable"))
	failed := false
	return &retry.Transport{
		Base: baseFunc(func(r *http.Request) (*http.Response, error) {
			if failed = !failed; !failed {
				return base.RoundTrip(r)
			}
			return &http.Response{StatusCode: 503, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
		}),
		Policy:  &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}},
		Breaker: &retry.Breaker{FailureRatio: 0.9},
		Logger:  quiet(),
	}
}

// notFound returns a transport whose base answers 404.
func notFound() *retry.Transport {
	return &retry.Transport{
		Base: baseFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 404, Body: http.NoBody, ContentLength: 60 << 10}, nil
		}),
		Observe: func(context.Context, retry.Event) {},
		Logger:  quiet(),
	}
}

func bytesPerRun(runs uint64, f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

// Where users choose the URLs, they can fill these tables.
func TestAllocationsPerHost(t *testing.T) {
	unavailable := baseFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
	})
	for _, tc := range []struct {
		name  string
		tr    func() *retry.Transport
		base  http.RoundTripper
		bytes uint64
	}{
		{"budget", func() *retry.Transport {
			return &retry.Transport{Breaker: &retry.Breaker{FailureRatio: -1}, Policy: &retry.Policy{BaseDelay: -1}}
		}, unavailable, 400},
		{"breaker", func() *retry.Transport {
			return &retry.Transport{Policy: &retry.Policy{Budget: &retry.Budget{Tokens: -1}}}
		}, ok(), 1300},
	} {
		const hosts = 1000
		tr := tc.tr()
		tr.Base, tr.Logger = tc.base, quiet()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range hosts {
			resp, err := tr.RoundTrip(request(t, "GET", fmt.Sprintf("https://host%04d.example/a/long/path?and=query", i), nil))
			require.NoError(t, err)
			resp.Body.Close()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(tr)
		perHost := (after.HeapAlloc - before.HeapAlloc) / hosts
		t.Logf("%s: %d bytes per host", tc.name, perHost)
		require.LessOrEqual(t, perHost, tc.bytes, tc.name)
	}
}

func TestAllocationsOfALongCallDoNotGrow(t *testing.T) {
	padding := strings.Repeat("x", 3<<10)
	var heap []uint64
	tr := transport(baseFunc(func(*http.Request) (*http.Response, error) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		heap = append(heap, m.HeapAlloc)
		return answer(503, `{"padding":"`+padding+`","error":{"code":"service_unavailable"}}`, "Content-Type: application/json"), nil
	}))
	tr.Breaker = &retry.Breaker{FailureRatio: -1}
	tr.Policy = &retry.Policy{MaxAttempts: 40, BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}

	resp, err := tr.RoundTrip(request(t, "GET", target, nil))

	require.NoError(t, err)
	resp.Body.Close()
	t.Logf("30 attempts: %d bytes", heap[39]-heap[9])
	require.Less(t, heap[39]-heap[9], uint64(60<<10), "no bodies")
}

func TestAllocationsOfWaitingCallsHoldNoBodies(t *testing.T) {
	page := strings.Repeat("x", 60<<10)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		down := true
		tr := transport(baseFunc(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return answer(503, page), nil
			}
			return answer(200, ""), nil
		}))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		tr.Policy = &retry.Policy{Budget: &retry.Budget{Tokens: -1}, BaseDelay: time.Hour, MaxDelay: time.Hour}
		before := heap()
		var calls sync.WaitGroup
		for range 50 {
			calls.Go(func() { _ = do(t, tr, target) })
		}

		synctest.Wait()
		waiting := heap()

		mu.Lock()
		down = false
		mu.Unlock()
		calls.Wait()
		require.Less(t, waiting, before+500<<10, "no bodies")
	})
}
