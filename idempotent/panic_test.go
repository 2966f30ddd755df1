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

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestPanicOfAHookLeavesNoClaim(t *testing.T) {
	t.Parallel()
	boom := true
	panics := func() {
		if boom {
			panic("hook")
		}
	}
	for name, o := range map[string]*idempotent.Options{
		"Keep":      {Keep: func(int) bool { panics(); return true }},
		"Observe":   {Observe: func(context.Context, idempotent.Event) { panics() }},
		"Authorize": {Authorize: func(*http.Request) error { panics(); return nil }},
		"Skip":      {Skip: func(*http.Request) bool { panics(); return false }},
		"Fingerprint": {Fingerprint: func(r *http.Request, b func() ([]byte, error)) (idempotent.Fingerprint, error) {
			panics()
			return idempotent.FingerprintBody(r, b)
		}},
	} {
		boom = true
		mw := idempotent.New(memory(), idempotent.Global, o)(&counter{})
		call(mw, "k", "")
		call(mw, "k", "")
		boom = false
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status, name)
	}
}

// hooks is a ResponseWriter, a request body, a slog.Handler and the functions of Options. The
// method that at names calls end.
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

func (h hooks) keep(status int) bool                              { h.reach("Keep"); return idempotent.DefaultKeep(status) }
func (h hooks) observe(context.Context, idempotent.Event)         { h.reach("Observe") }
func (h hooks) scope(*http.Request) (principal string, err error) { h.reach("scope"); return "p", nil }
func (h hooks) fingerprint(*http.Request, func() ([]byte, error)) (f idempotent.Fingerprint, err error) {
	h.reach("Fingerprint")
	return f, nil
}

// hookHandlers reach all points at which hooks can end a run.
var hookHandlers = map[string]func(h hooks, w http.ResponseWriter, r *http.Request){
	"returns":           func(hooks, http.ResponseWriter, *http.Request) {},
	"writes":            func(_ hooks, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") },
	"fails":             func(_ hooks, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	"writes too much":   func(_ hooks, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2000)) },
	"finds no room":     func(_ hooks, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 900)) },
	"sends early hints": func(_ hooks, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
	"reads":             func(_ hooks, _ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); _ = r.Body.Close() },
	"streams": func(_ hooks, w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		_, _ = io.WriteString(w, "half ")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "done")
	},
	"begins an effect": func(_ hooks, _ http.ResponseWriter, r *http.Request) {
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

// Nothing takes over a claim in a Memory: it must end with its request.
func TestPanicAnywhereLeavesNoClaim(t *testing.T) {
	t.Parallel()
	points := []string{
		"", "handler", "Header", "WriteHeader", "Write", "Flush", "Read", "Close", "Log", "Fingerprint", "Keep", "Observe", "scope",
	}
	ends := map[string]func(){
		"a panic": func() { panic("a bug") },
		"abort":   func() { panic(http.ErrAbortHandler) },
		"Goexit":  runtime.Goexit,
	}
	for name, handle := range hookHandlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for how, end := range ends {
				for _, point := range points {
					for _, atMostOnce := range []bool{false, true} {
						for _, disconnected := range []bool{false, true} {
							h := hooks{ResponseRecorder: httptest.NewRecorder(), at: point, end: end}
							running := h.serve(t, handle, atMostOnce, disconnected)
							require.Zero(t, running, "%s in %q, AtMostOnce %t, disconnected %t", how, point, atMostOnce, disconnected)
						}
					}
				}
			}
		})
	}
}

// serve serves a keyed request, and returns how many records are running after that.
func (h hooks) serve(t *testing.T, handle func(hooks, http.ResponseWriter, *http.Request), atMostOnce, disconnected bool) int {
	t.Helper()
	m := idempotent.NewMemory(&idempotent.MemoryOptions{MaxBytes: 1300})
	o := &idempotent.Options{
		AtMostOnce: atMostOnce, MaxResponse: 1000,
		Fingerprint: h.fingerprint, Keep: h.keep, Observe: h.observe, Logger: slog.New(h),
	}
	mw := idempotent.New(m, h.scope, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(h, w, r) }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if disconnected {
		cancel()
	}
	isolated(func() { mw.ServeHTTP(h, keyedRequest("k", h).WithContext(ctx)) })
	return m.Running()
}
