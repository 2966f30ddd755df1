package peers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// side is one way to do the job of a row. setup returns the operation that is measured.
// setup itself is not measured.
type side struct {
	name  string
	setup func(tb testing.TB) (op func())
}

// compare runs the sides one after the other. In every second round, report has them run in the
// reverse order, so that no side always benefits from the one before it.
func compare(b *testing.B, sides []side) {
	if os.Getenv("BENCH_REVERSE") != "" {
		slices.Reverse(sides)
	}
	for _, s := range sides {
		b.Run(s.name, func(b *testing.B) {
			op := s.setup(b)
			b.ReportAllocs()
			measure(b, op)
		})
	}
}

// measure reports processor time, in addition to the elapsed time that package testing
// reports.
func measure(b *testing.B, op func()) {
	before := processorTime()
	for b.Loop() {
		op()
	}
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// processorTime returns the nanoseconds that this process has used, garbage collection included.
func processorTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// serve returns an operation that answers the same request again and again.
func serve(h http.Handler, r *http.Request) func() {
	w := &discard{header: make(http.Header)}
	return func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that keeps nothing but the status. It has the optional methods of
// net/http's own that middleware looks for.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discard) WriteString(s string) (int, error) { return len(s), nil }
func (d *discard) WriteHeader(status int)            { d.status = status }
func (d *discard) Flush()                            {}

// answer returns the response of h.
func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// key is the API key of a caller, 16 bytes long.
const key = "key_4fT9aQ2mZx7L"

func request(tb testing.TB, method, target string) *http.Request {
	r := httptest.NewRequestWithContext(tb.Context(), method, target, nil)
	r.Header.Set("X-Api-Key", key)
	return r
}

func byAPIKey(r *http.Request) (string, error) { return r.Header.Get("X-Api-Key"), nil }

// kilobyte is the JSON body of a request or a response.
var kilobyte = []byte(`{"name":"` + strings.Repeat("x", 1024-11) + `"}`)

// noContent is the handler behind a middleware that is measured alone.
var noContent = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
})

// quiet is a logger that is disabled.
var quiet = slog.New(slog.DiscardHandler)

// discardHandler is a slog.Handler that discards each record. Unlike slog.DiscardHandler,
// it is enabled, so that loggers create the records.
type discardHandler struct{}

func (discardHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (discardHandler) Handle(context.Context, slog.Record) error { return nil }
func (h discardHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h discardHandler) WithGroup(string) slog.Handler           { return h }

// must returns v for constructors whose arguments are valid.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
