package service

import (
	"context"
	"net/http"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// replyWriter has the window before the first byte of a response.
type replyWriter struct {
	http.ResponseWriter
	before func()
	begun  bool
}

// begin is called before anything leaves.
func (w *replyWriter) begin() {
	if !w.begun {
		w.begun = true
		w.before()
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *replyWriter) WriteHeader(status int) {
	if status >= 200 {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *replyWriter) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// FlushError is for a [http.ResponseController].
func (w *replyWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for a [http.ResponseController].
func (w *replyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// windowed serves a keyed request with the windows that are around the middleware.
func (s *server) windowed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		way, ok := wayOf(r.URL.Path)
		if key == "" || !ok {
			next.ServeHTTP(w, r)
			return
		}
		c := &call{key: keyOf(r.Header.Get("X-Principal"), key), way: way}
		ctx := context.WithValue(r.Context(), callKey{}, c)
		c.reply = replyWriter{ResponseWriter: w, before: func() { _ = s.f.at(ctx, c, history.BeforeReply) }}
		_ = s.f.at(ctx, c, history.BeforeClaim) // no action here returns an error
		next.ServeHTTP(&c.reply, r.WithContext(ctx))
		if s.f.waits(history.AfterReply) {
			_ = c.reply.FlushError() // a client that has left misses nothing
			_ = s.f.at(ctx, c, history.AfterReply)
		}
	})
}
