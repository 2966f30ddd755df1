package seawall_test

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

// A reverse proxy passes a 1xx on, and clears the header then: golang/go#81207.
func TestFieldsSurviveAnInformationalResponse(t *testing.T) {
	t.Parallel()
	early := func(status int, end func(http.ResponseWriter)) http.Handler {
		return plain(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(status)
			w.Header().Set("Own", "value")
			end(w)
		})
	}
	backends := map[string]http.Handler{
		"103 and a body":   early(http.StatusEarlyHints, func(w http.ResponseWriter) { io.WriteString(w, "ok") }),
		"103 and a status": early(http.StatusEarlyHints, func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }),
		"103 and nothing":  early(http.StatusEarlyHints, func(http.ResponseWriter) {}),
		"103 and a flush":  early(http.StatusEarlyHints, func(w http.ResponseWriter) { w.(http.Flusher).Flush() }),
		"102":              early(http.StatusProcessing, func(w http.ResponseWriter) { io.WriteString(w, "ok") }),
		"100":              early(http.StatusContinue, func(w http.ResponseWriter) { io.WriteString(w, "ok") }),
		"103 twice": early(http.StatusEarlyHints, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "ok")
		}),
	}
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{LegacyHeaders: true}, ratelimit.Rule{
		Limit: ratelimit.PerHour(1 << 20), Key: everybody,
	})
	for _, protocol := range protocols {
		for name, backend := range backends {
			for wrapper, inside := range map[string]seawall.Middleware{"": nil, "/below a foreign writer": wrapped(1)} {
				t.Run(protocol.name+"/"+name+wrapper, func(t *testing.T) {
					t.Parallel()
					behind := protocol.new(backend)
					defer behind.Close()
					target, err := url.Parse(behind.URL)
					require.NoError(t, err)
					proxy := &httputil.ReverseProxy{
						Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
						Transport:    behind.Transport(),
						ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { apierror.Write(w, r, err) },
					}
					s := protocol.new((&seawall.Stack{Logger: discard, RateLimit: limit}).Handler(seawall.Chain(inside)(proxy)))
					defer s.Close()

					a := get(t, s, "/")

					require.NoError(t, a.err)
					require.Less(t, a.StatusCode, 300)
					a.requireID(t)
					require.Equal(t, []string{"value"}, a.Header["Own"])
					for _, key := range []string{
						"Ratelimit", "Ratelimit-Policy", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset",
					} {
						require.Len(t, a.Header[key], 1, key)
					}
				})
			}
		}
	}
}

// A handler that clears the header by itself after a 1xx has the fields; without a 1xx they are
// its own to remove.
func TestHandlersMayRemoveFields(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.RequestID(nil)(plain(func(w http.ResponseWriter, _ *http.Request) {
		clear(w.Header())
		io.WriteString(w, "ok")
	})), nil)
	require.NotContains(t, w.Header(), "Request-Id")
}
