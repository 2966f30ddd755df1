package seawall_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// sink is a ResponseWriter that does not allocate. It has http.Flusher, as net/http's writers do.
type sink struct {
	http.ResponseWriter
	header http.Header
}

func newSink() *sink {
	return &sink{ResponseWriter: httptest.NewRecorder(), header: make(http.Header, 8)}
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Flush()                      {}

// quiet is a handler that does not allocate.
var quiet = plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func benchmark(b *testing.B, h http.Handler) {
	b.Helper()
	w, r := newSink(), httptest.NewRequest(http.MethodGet, "/v1/things/1", nil)
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// sinkLog discards what a slog.Handler has written. slog.DiscardHandler would not even format it.
type sinkLog struct{}

func (*sinkLog) Write(p []byte) (int, error) { return len(p), nil }

func things(h http.Handler) *http.ServeMux { return mux("GET /v1/things/{id}", h) }

func BenchmarkHandlerAlone(b *testing.B) { benchmark(b, quiet) }

func BenchmarkMuxAlone(b *testing.B) { benchmark(b, things(quiet)) }

func BenchmarkRequestID(b *testing.B) { benchmark(b, seawall.RequestID(nil)(quiet)) }

func BenchmarkRecover(b *testing.B) { benchmark(b, seawall.Recover(discard)(quiet)) }

func BenchmarkWrapMux(b *testing.B) { benchmark(b, seawall.WrapMux(things(quiet))) }

func BenchmarkTimeout(b *testing.B) { benchmark(b, seawall.Timeout(time.Minute)(quiet)) }

func BenchmarkMaxInFlight(b *testing.B) { benchmark(b, seawall.MaxInFlight(1)(quiet)) }

func BenchmarkAccessLog(b *testing.B) {
	logger := slog.New(slog.NewJSONHandler(new(sinkLog), nil))
	benchmark(b, seawall.AccessLog(&seawall.AccessLogOptions{Logger: logger})(quiet))
}

// BenchmarkRequestIDAndRecover measures the smallest chain that answers all errors.
func BenchmarkRequestIDAndRecover(b *testing.B) {
	benchmark(b, seawall.Chain(seawall.RequestID(nil), (&apierror.Renderer{}).Handler, seawall.Recover(discard))(quiet))
}

func BenchmarkStack(b *testing.B) {
	stack := &seawall.Stack{Logger: discard, Timeout: time.Minute, MaxBody: 1 << 20, MaxInFlight: 100}
	benchmark(b, stack.Handler(things(quiet)))
}

func BenchmarkStackWithError(b *testing.B) {
	stack := &seawall.Stack{Logger: discard, Timeout: time.Minute, MaxBody: 1 << 20, MaxInFlight: 100}
	benchmark(b, stack.Handler(things(failing(nil, apierror.ParameterMissing("name")))))
}

// BenchmarkStackParallel measures the cost of MaxInFlight when all processors use it.
func BenchmarkStackParallel(b *testing.B) {
	stack := &seawall.Stack{Logger: discard, Timeout: time.Minute, MaxBody: 1 << 20, MaxInFlight: 1000}
	h := stack.Handler(things(quiet))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w, r := newSink(), httptest.NewRequest(http.MethodGet, "/v1/things/1", nil)
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}
