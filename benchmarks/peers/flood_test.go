package peers_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// floodKeys returns how many keys a flood has. The limiters that keep every key get fewer
// keys. Otherwise they would need gigabytes.
func floodKeys(side string) int64 {
	switch side {
	case "ulule", "tollbooth", "sethvargo":
		return 1_000_000
	}
	return 5_000_000
}

// flood sends floodKeys requests through a limiter, each with a new key. It prints the
// processor time of one request, in nanoseconds, and the peak memory of the process, in
// bytes.
func flood(side string) {
	for _, l := range limiters(nil) {
		if l.name == side {
			op := newcomers(l.wrap(100, time.Second)(noContent))
			before := processorTime()
			keys := floodKeys(side)
			for range keys {
				op()
			}
			fmt.Println((processorTime()-before)/keys, peakMemory())
			os.Exit(0) // some peers have goroutines that never end
		}
	}
}

// newcomers returns an operation that sends a request with a key that h has never seen.
func newcomers(h http.Handler) func() {
	r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
	field, n, b, op := make([]string, 1), uint64(1e11), []byte("key_000000000000"), serve(h, r)
	r.Header["X-Api-Key"] = field
	return func() {
		n++
		strconv.AppendUint(b[:4], n, 10)
		field[0] = string(b)
		op()
	}
}

// peakMemory returns the largest resident set that this process has had.
func peakMemory() int64 {
	status := must(os.ReadFile("/proc/self/status"))
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	return must(strconv.ParseInt(string(bytes.Fields(after)[0]), 10, 64)) << 10
}

func BenchmarkFlood(b *testing.B) {
	for _, l := range limiters(nil) {
		b.Run(l.name, func(b *testing.B) {
			var ns, peak float64
			for b.Loop() {
				out, err := child(b, "flood", l.name).Output()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := fmt.Sscan(string(out), &ns, &peak); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(ns, "cpu-ns/op")
			b.ReportMetric(peak, "peak-RSS-bytes")
		})
	}
}

// BenchmarkMemory reports the heap memory that each of a million keys of 16 bytes takes.
func BenchmarkMemory(b *testing.B) {
	const keys = 1_000_000
	for _, l := range limiters(&ratelimit.MemoryOptions{MaxKeys: 1 << 20}) {
		b.Run(l.name, func(b *testing.B) {
			var each float64
			for b.Loop() {
				before := heap()
				limit := l.wrap(100, time.Hour)(noContent)
				op := newcomers(limit)
				for range keys {
					op()
				}
				each = (heap() - before) / keys
				runtime.KeepAlive(limit)
			}
			b.ReportMetric(each, "B/key")
		})
	}
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // frees the objects that the first collection left in pools
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
