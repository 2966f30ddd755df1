package seawall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
)

// outerPattern serves a request as tracing does, and returns the pattern that its own request has then.
func outerPattern(h http.Handler) (pattern string) {
	r := httptest.NewRequest(http.MethodPost, "/v1/things/17", http.NoBody)
	r.Header.Set("Idempotency-Key", "key")
	func() {
		defer func() {
			_ = recover()
			pattern = r.Pattern
		}()
		h.ServeHTTP(httptest.NewRecorder(), r)
	}()
	return pattern
}

func TestOuterLayersKnowThePattern(t *testing.T) {
	t.Parallel()
	const want = "POST /v1/things/{id}"
	for end, handler := range map[string]http.Handler{
		"success": ok, "panic": panicking("bug"), "abort": panicking(http.ErrAbortHandler),
	} {
		for name := range layers() {
			for router, routed := range map[string]http.Handler{
				"ServeMux": mux(want, handler),
				"NotFound": seawall.NotFound(mux(want, handler)),
				"another router, before": plain(func(w http.ResponseWriter, r *http.Request) {
					handler.ServeHTTP(w, seawall.WithPattern(r, want))
				}),
				"another router, after": plain(func(w http.ResponseWriter, r *http.Request) {
					defer seawall.WithPattern(r, want)
					handler.ServeHTTP(w, r)
				}),
			} {
				t.Run(end+"/"+name+"/"+router, func(t *testing.T) {
					t.Parallel()
					require.Equal(t, want, outerPattern(seawall.Chain(layers()[name])(routed)))
				})
			}
		}
	}
}

func TestAccessLogHasThePatternOfAnotherRouter(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Handler{
		"alone": plain(func(_ http.ResponseWriter, r *http.Request) { seawall.WithPattern(r, "GET /things/{id}") }),
		"last call wins": plain(func(_ http.ResponseWriter, r *http.Request) {
			seawall.WithPattern(r, "GET /things/")
			seawall.WithPattern(r, "GET /things/{id}")
		}),
		"over a mux": mux("/", plain(func(w http.ResponseWriter, r *http.Request) {
			seawall.WithPattern(r, "GET /things/{id}")
			io.WriteString(w, "ok")
		})),
		"not a sub-request's": plain(func(_ http.ResponseWriter, r *http.Request) {
			seawall.WithPattern(r, "GET /things/{id}")
			sub := r.Clone(r.Context())
			seawall.WithPattern(sub, "GET /parts/{id}")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, authenticate := range []seawall.Middleware{nil, as("acct_1")} {
				var logs logs
				stack := &seawall.Stack{Logger: logs.logger(), Authenticate: authenticate}
				serveOne(stack.Handler(plain(h.ServeHTTP)), nil)
				require.Equal(t, "GET /things/{id}", logs.access(t)[0]["pattern"])
			}
		})
	}
}
