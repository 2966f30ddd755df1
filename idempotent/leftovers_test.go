package idempotent_test

import (
	"context"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// hooks is a ResponseWriter, a request body and a slog.Handler, each of whose methods may end
// the goroutine.
type hooks struct {
	*httptest.ResponseRecorder
	slog.Handler
	at  string
	end func()
}

func (h hooks) reach(point string) {
	if h.at == point {
		h.end()
	}
}

func (h hooks) Header() http.Header { h.reach("Header"); return h.ResponseRecorder.Header() }
func (h hooks) WriteHeader(status int) {
	h.reach("WriteHeader")
	h.ResponseRecorder.WriteHeader(status)
}
func (h hooks) Write(p []byte) (int, error) { h.reach("Write"); return h.ResponseRecorder.Write(p) }
func (h hooks) Flush()                      { h.reach("Flush"); h.ResponseRecorder.Flush() }

func (h hooks) Read([]byte) (int, error) { h.reach("Read"); return 0, io.EOF }
func (h hooks) Close() error             { h.reach("Close"); return nil }

func (h hooks) Enabled(context.Context, slog.Level) bool  { return true }
func (h hooks) Handle(context.Context, slog.Record) error { h.reach("Log"); return nil }
func (h hooks) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h hooks) WithGroup(string) slog.Handler             { return h }
func (h hooks) print(*http.Request, func() ([]byte, error)) (p idempotent.Fingerprint, err error) {
	h.reach("Fingerprint")
	return p, nil
}
func (h hooks) keep(status int) bool                              { h.reach("Keep"); return idempotent.DefaultKeep(status) }
func (h hooks) observe(context.Context, idempotent.Event)         { h.reach("Observe") }
func (h hooks) scope(*http.Request) (principal string, err error) { h.reach("scope"); return "p", nil }

// A claim in memory ends with its request, or never: nobody takes it over.
func TestNoClaimIsLeftBehind(t *testing.T) {
	t.Parallel()
	handlers := map[string]func(h hooks, w http.ResponseWriter, r *http.Request){
		"is silent": func(hooks, http.ResponseWriter, *http.Request) {},
		"writes":    func(_ hooks, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") },
		"fails":     func(_ hooks, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"streams": func(_ hooks, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			_, _ = io.WriteString(w, "half ")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "done")
		},
		"writes too much": func(_ hooks, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2000)) },
		"has no room":     func(_ hooks, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 900)) },
		"informs":         func(_ hooks, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
		"reads":           func(_ hooks, _ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); _ = r.Body.Close() },
		"begins": func(_ hooks, _ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			_ = idempotent.BeginEffect(ctx)
			_ = idempotent.BeginEffect(r.Context())
		},
		"ends": func(h hooks, _ http.ResponseWriter, _ *http.Request) { h.reach("handler") },
		"ends after a write": func(h hooks, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			h.reach("handler")
		},
		"leaves a form that cannot be removed": func(_ hooks, _ http.ResponseWriter, r *http.Request) {
			r.MultipartForm = &multipart.Form{File: map[string][]*multipart.FileHeader{"file": {nil}}}
		},
	}
	points := []string{"", "handler", "Header", "WriteHeader", "Write", "Flush", "Read", "Close", "Log", "Fingerprint", "Keep", "Observe", "scope"}
	ends := []func(){func() { panic("a bug") }, func() { panic(http.ErrAbortHandler) }, runtime.Goexit}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 4 * len(points) * len(ends) {
				marked, gone := i%2 == 1, i/2%2 == 1
				point, end := points[i/4%len(points)], ends[i/4/len(points)]
				m := idempotent.NewMemory(&idempotent.MemoryOptions{MaxBytes: 1300})
				h := hooks{ResponseRecorder: httptest.NewRecorder(), at: point, end: end}
				o := &idempotent.Options{
					AtMostOnce: marked, MaxResponse: 1000,
					Fingerprint: h.print, Keep: h.keep, Observe: h.observe, Logger: slog.New(h),
				}
				mw := idempotent.New(m, h.scope, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(h, w, r) }))
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if gone {
					cancel()
				}
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", h)
				r.Header.Set("Idempotency-Key", "k")

				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					mw.ServeHTTP(h, r)
				}()
				<-done
				cancel()

				require.Zero(t, m.Running(), "ends in %q, marked %t, gone %t", point, marked, gone)
			}
		})
	}
}
