package seawall_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// foreign is a writer like those of most middleware: it hides the optional interfaces, and
// unwraps.
type foreign struct{ http.ResponseWriter }

func (f foreign) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// wrapped returns a middleware that puts n foreign writers around the writer.
func wrapped(n int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range n {
				w = foreign{w}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// bare is a writer that hides the optional interfaces, and does not unwrap.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header         { return b.w.Header() }
func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }
func (b bare) WriteHeader(status int)      { b.w.WriteHeader(status) }

// hidesWriter is a middleware that passes on a bare writer.
func hidesWriter(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(bare{w}, r) })
}

// gzipWriter compresses the body. It sets Content-Encoding when the status is written.
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

// compress returns a middleware with a gzipWriter. If eager, it sets Content-Encoding first.
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

// holding is a middleware that buffers the response until its handler has returned.
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

// canceled is a middleware that gives requests a canceled context, as when a server's base
// context has ended.
func canceled(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// cloned is a middleware that passes on a clone of the request, with another Header map.
func cloned(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.Clone(r.Context())) })
}

// replacesContext is a middleware that replaces the context by an empty one.
func replacesContext(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.Background()))
	})
}

// as returns an authentication that always succeeds.
func as(principal string) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, seawall.WithPrincipal(r, principal)) })
	}
}

// authorized returns an authentication that refuses requests without an Authorization header.
func authorized(principal string) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		known := as(principal)(next)
		return plain(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				apierror.Write(w, r, apierror.CodeAuthenticationFailed)
				return
			}
			known.ServeHTTP(w, r)
		})
	}
}

// layers are all kinds of middleware that may pass on a copy of the request.
func layers() map[string]seawall.Middleware {
	settled := func() seawall.Middleware {
		return ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
			Name: "settled", Limit: ratelimit.PerHour(1000), Key: everybody, Settled: true,
		})
	}
	idempotency := func() seawall.Middleware {
		return idempotent.New(idempotent.NewMemory(nil), everybody, nil)
	}
	return map[string]seawall.Middleware{
		"nothing":                        nil,
		"RequestID":                      seawall.RequestID(nil),
		"Renderer":                       (&apierror.Renderer{Logger: discard}).Handler,
		"Renderer in a Renderer":         seawall.Chain((&apierror.Renderer{}).Handler, (&apierror.Renderer{Logger: discard}).Handler),
		"AccessLog":                      seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard}),
		"Timeout":                        seawall.Timeout(time.Hour),
		"RequestID and authentication":   seawall.Chain(seawall.RequestID(nil), as("acct_1")),
		"authentication twice":           seawall.Chain(seawall.RequestID(nil), as("key_1"), as("acct_1")),
		"a settled limit":                settled(),
		"MaxConcurrent":                  ratelimit.MaxConcurrent(10, everybody, nil),
		"idempotency":                    idempotency(),
		"idempotency and authentication": seawall.Chain(idempotency(), as("acct_1")),
		"Recover":                        seawall.Recover(discard),
		"a Stack": (&seawall.Stack{
			Logger: discard, Timeout: time.Hour, MaxBody: 1 << 20, MaxInFlight: 10, AddressLimit: settled(), Authenticate: as("acct_1"),
			RateLimit: settled(), Idempotency: idempotency(),
		}).Handler,
		"a Stack in a Stack": seawall.Chain(
			(&seawall.Stack{Logger: discard, Authenticate: as("acct_1")}).Handler,
			(&seawall.Stack{Logger: discard, Authenticate: as("acct_2"), Timeout: time.Hour}).Handler),
	}
}
