//go:build !race

package retry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// TestAllocations holds the cost of a first attempt that succeeds, over that of the base transport, to its budget.
func TestAllocations(t *testing.T) {
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
		{"GET", &retry.Transport{Base: base}, get, 2, 1 << 10},
		{"GET, no breaker", &retry.Transport{Base: base, Breaker: &retry.Breaker{FailureRatio: -1}}, get, 1, 1 << 10},
		{"POST with the caller's key", &retry.Transport{Base: base}, keyed, 2, 1 << 10},
		{"POST with a new key", &retry.Transport{Base: base}, post, 7, 2 << 10}, // request, header map, its line, the key
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

func bytesPerRun(runs uint64, f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

// TestAllocationsPerHost measures what a host takes in the tables that a stranger may fill, if he chooses the URLs.
func TestAllocationsPerHost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tr    func() *retry.Transport
		bytes uint64
	}{
		{"budget", func() *retry.Transport {
			return &retry.Transport{Breaker: &retry.Breaker{FailureRatio: -1}}
		}, 400},
		{"breaker", func() *retry.Transport {
			return &retry.Transport{Policy: &retry.Policy{Budget: &retry.Budget{Tokens: -1}}}
		}, 1300},
	} {
		const hosts = 1000
		tr := tc.tr()
		tr.Base = ok()
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
		t.Logf("%s: %d bytes a host", tc.name, perHost)
		require.LessOrEqual(t, perHost, tc.bytes, tc.name)
	}
}
