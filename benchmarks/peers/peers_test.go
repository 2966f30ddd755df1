package peers_test

import (
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// contender is one way to do a job. Setup is not measured; what it returns is the operation that is.
type contender struct {
	name  string
	setup func(tb testing.TB) (op func())
}

// compare runs the contenders one after the other. In every second round (see report) it does so in reverse order, so that
// nobody always profits from whom it follows.
func compare(b *testing.B, contenders []contender) {
	if os.Getenv("BENCH_REVERSE") != "" {
		contenders = slices.Clone(contenders)
		slices.Reverse(contenders)
	}
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			op := c.setup(b)
			b.ReportAllocs()
			measure(b, op)
		})
	}
}

func measure(b *testing.B, op func()) {
	before := processorTime()
	for b.Loop() {
		op()
	}
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// serve is the operation of a handler: it answers the same request again and again.
func serve(h http.Handler, r *http.Request) func() {
	w := newDiscard()
	return func() {
		w.reset()
		h.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter with the optional interfaces of net/http's own that matter here.
type discard struct {
	header http.Header
	status int
}

func newDiscard() *discard { return &discard{header: make(http.Header)} }

func (d *discard) reset()                            { clear(d.header) }
func (d *discard) Header() http.Header               { return d.header }
func (d *discard) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discard) WriteString(s string) (int, error) { return len(s), nil }
func (d *discard) WriteHeader(status int)            { d.status = status }
func (d *discard) Flush()                            {}

// handler is what all middleware stands in front of.
var handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func request(tb testing.TB, method string) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), method, "http://api.example.com/v1/resources?limit=10", nil)
	if err != nil {
		tb.Fatal(err)
	}
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "192.0.2.1:4711"
	r.Header.Set("X-Api-Key", key)
	return r
}

// key is a caller's: 16 bytes.
const key = "key_4fT9aQ2mZx7L"

// kilobyte is the body of a request, or of a response.
var kilobyte = []byte(`{"name":"` + strings.Repeat("x", 1024-11) + `"}`)

// quiet is where nothing is logged.
var quiet = slog.New(slog.DiscardHandler)

// must is for constructors whose arguments are right.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// processorTime is what this process has used, the garbage collector included, in nanoseconds.
func processorTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
