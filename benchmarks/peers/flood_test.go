package peers_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// children are what this test binary does instead of testing when benchmarks start it as another process, whose memory or
// processor time is measured.
var children = map[string]func(who string){"flood": flood, "server": server}

const childVariable = "BENCH_CHILD"

func TestMain(m *testing.M) {
	if what, who, ok := strings.Cut(os.Getenv(childVariable), "/"); ok {
		children[what](who)
		return
	}
	os.Exit(m.Run())
}

func child(b *testing.B, what, who string) *exec.Cmd {
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+what+"/"+who)
	cmd.Stderr = os.Stderr
	return cmd
}

// floodKeys is how many keys a flood has. Those that keep every key get fewer: with all of them they would take minutes and
// gigabytes.
func floodKeys(who string) int64 {
	switch who {
	case "ulule", "tollbooth", "sethvargo":
		return 1_000_000
	}
	return 5_000_000
}

// flood sends requests with as many keys through a middleware with default settings, at 100 a second and key, and prints the
// processor time that one took, in nanoseconds, and the most memory that the process ever had, in bytes.
func flood(who string) {
	for _, l := range limiters(nil) {
		if l.name == who {
			op := newcomers(l.wrap(100, time.Second)(handler))
			before := processorTime()
			keys := floodKeys(who)
			for range keys {
				op()
			}
			fmt.Println((processorTime()-before)/keys, peakMemory())
			os.Exit(0) // some peers have goroutines that never end
		}
	}
}

// newcomers is the operation of a handler: a request with a key that was never seen.
func newcomers(h http.Handler) func() {
	r, _ := http.NewRequest(http.MethodGet, "http://api.example.com/v1/resources", nil)
	r.RemoteAddr = "192.0.2.1:4711"
	name, n, b, op := make([]string, 1), uint64(1e11), []byte("key_000000000000"), serve(h, r)
	r.Header["X-Api-Key"] = name
	return func() {
		n++
		strconv.AppendUint(b[:4], n, 10)
		name[0] = string(b)
		op()
	}
}

// peakMemory is the largest resident set that this process ever had.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	return must(strconv.ParseInt(string(bytes.Fields(after)[0]), 10, 64)) << 10
}

func BenchmarkFlood(b *testing.B) {
	for _, l := range keyedLimiters(nil) {
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

// What a million keys of 16 bytes hold of the heap, each.
func BenchmarkMemory(b *testing.B) {
	const keys = 1_000_000
	for _, l := range keyedLimiters(&ratelimit.MemoryOptions{MaxKeys: 1 << 20}) {
		b.Run(l.name, func(b *testing.B) {
			var each float64
			for b.Loop() {
				before := heap()
				limit := l.wrap(100, time.Hour)(handler)
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
	runtime.GC() // what the first one left in pools
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
