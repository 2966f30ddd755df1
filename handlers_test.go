package seawall_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// plain is a handler that cannot fail.
func plain(f func(http.ResponseWriter, *http.Request)) http.Handler { return http.HandlerFunc(f) }

// failing is a handler that answers something and then fails.
func failing(f func(http.ResponseWriter), err error) http.Handler {
	return apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if f != nil {
			f(w)
		}
		return err
	})
}

func panicking(v any) http.Handler {
	return plain(func(http.ResponseWriter, *http.Request) { panic(v) })
}

// shy cannot be printed, and panics with something that can.
type shy struct{ Secret string }

func (shy) String() string { panic("do not look") }

// shyer cannot be printed, and panics with itself: fmt gives up.
type shyer struct{ Secret string }

func (s shyer) Error() string { panic(s) }

func part(w http.ResponseWriter) { io.WriteString(w, `{"id":`) }

func flushedPart(w http.ResponseWriter) {
	part(w)
	w.(http.Flusher).Flush()
}

func whole(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "2")
	io.WriteString(w, "{}")
}

func without(keys ...string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		for _, key := range keys {
			require.NotContains(t, a.Header, key)
		}
	}
}

func method(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }

// body sends n bytes, of which the server does not know beforehand how many they are.
func body(n int) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		r.Body = io.NopCloser(struct{ io.Reader }{strings.NewReader(strings.Repeat("x", n))})
		r.ContentLength = -1
	}
}

// reading is a handler that reads the whole body and says how long it was.
var reading = apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	_, err = fmt.Fprint(w, len(b))
	return err
})

// gzipWriter compresses everything. Eager ones set their header at once, others with the status.
type gzipWriter struct {
	http.ResponseWriter
	gz *gzip.Writer
}

func (g *gzipWriter) Unwrap() http.ResponseWriter { return g.ResponseWriter }
func (g *gzipWriter) WriteHeader(status int) {
	g.Header().Set("Content-Encoding", "gzip")
	g.ResponseWriter.WriteHeader(status)
}

func (g *gzipWriter) Write(p []byte) (int, error) {
	if g.gz == nil {
		g.Header().Set("Content-Encoding", "gzip")
		g.gz = gzip.NewWriter(g.ResponseWriter)
	}
	return g.gz.Write(p)
}

func compress(eager bool) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) {
			g := &gzipWriter{ResponseWriter: w}
			if eager {
				w.Header().Set("Content-Encoding", "gzip")
			}
			next.ServeHTTP(g, r)
			if g.gz != nil {
				_ = g.gz.Close()
			}
		})
	}
}

// holding is a middleware that holds the response back until its handler has returned.
func holding(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		h := &held{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(h, r)
		w.WriteHeader(h.status)
		w.Write(h.body)
	})
}

type held struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }
func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(p []byte) (int, error) { h.body = append(h.body, p...); return len(p), nil }

// acceptGzip asks for it by hand: the client then does not decode.
func acceptGzip(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }

func gunzip(t *testing.T, a answer) answer {
	t.Helper()
	require.NoError(t, a.err)
	require.Equal(t, []string{"gzip"}, a.Header["Content-Encoding"])
	zr, err := gzip.NewReader(bytes.NewReader(a.body))
	require.NoError(t, err)
	a.body, err = io.ReadAll(zr)
	require.NoError(t, err)
	return a
}

// canceled gives requests a context that is canceled already, as those of a server whose base
// context has ended have.
func canceled(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// cloned passes on a copy of the request with its own header.
func cloned(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.Clone(r.Context())) })
}

func mux(pattern string, h http.Handler) *http.ServeMux {
	m := http.NewServeMux()
	m.Handle(pattern, h)
	return m
}

func path(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }

var ok = plain(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
