package seawall_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

// responseExchanges are responses of handlers that fail, if at all, before their response
// has begun.
var responseExchanges = []exchange{
	// Successes.
	{name: "success", handler: ok, status: 200, body: "ok"},
	{name: "nothing written", handler: plain(func(http.ResponseWriter, *http.Request) {}), status: 200},
	{name: "HEAD", handler: ok, request: method(http.MethodHead), status: 200, logged: map[string]any{"bytes": 0.}},
	{name: "204", handler: plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), status: 204},

	{
		name: "a second status is ignored, and logged by net/http",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusCreated)
		}),
		h1Only: "HTTP/2 does not complain",
		status: 202, errorLog: "superfluous response.WriteHeader",
	},
	// Errors returned.
	{name: "error", handler: failing(nil, apierror.ParameterMissing("name")), status: 400, code: apierror.CodeParameterMissing},
	{name: "code", handler: failing(nil, apierror.CodePermissionDenied), status: 403, code: apierror.CodePermissionDenied},
	{name: "unknown error", handler: failing(nil, errSecret), status: 500, code: apierror.CodeAPIError, others: []string{logFailed}},
	{
		name: "error of a HEAD", handler: failing(nil, apierror.CodeResourceMissing), request: method(http.MethodHead),
		status: 404, code: apierror.CodeResourceMissing, logged: map[string]any{"bytes": 0.},
	},
	{
		name: "error after headers of a body that is not sent",
		handler: failing(func(w http.ResponseWriter) {
			h := w.Header()
			h.Set("Content-Length", "5")
			h.Set("Content-Encoding", "gzip")
			h.Set("Etag", `"v1"`)
			h.Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			h.Set("Accept-Ranges", "bytes")
		}, apierror.CodeResourceMissing),
		request: acceptGzip,
		status:  404, code: apierror.CodeResourceMissing,
		check: without("Content-Encoding", "Etag", "Last-Modified", "Accept-Ranges"),
	},
	{
		name: "panic after headers of a body that is not sent",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Content-Encoding", "br")
			w.Header().Set("Etag", `"v1"`)
			panic(errSecret)
		}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
		check: without("Content-Encoding", "Etag"),
	},
	// Compression.
	{
		name: "error below an outer compressor", outside: compress(false), handler: failing(nil, apierror.CodeResourceMissing),
		request: acceptGzip,
		check: func(t *testing.T, a answer) {
			gunzip(t, a).requireError(t, http.StatusNotFound, apierror.CodeResourceMissing)
		},
		status: 404, logged: map[string]any{"code": "resource_missing"},
	},
	{
		name: "panic below an outer compressor that sets its header first", outside: compress(true), handler: panicking("bug"),
		request: acceptGzip,
		check:   func(t *testing.T, a answer) { gunzip(t, a).requireError(t, 500, apierror.CodeAPIError) },
		status:  500, logged: map[string]any{"code": "api_error"}, others: []string{logPanic},
	},
	{
		name: "error below a compressor in between", handler: compress(true)(failing(nil, apierror.CodeResourceMissing)),
		request: acceptGzip,
		check: func(t *testing.T, a answer) {
			gunzip(t, a).requireError(t, http.StatusNotFound, apierror.CodeResourceMissing)
		},
		status: 404, logged: map[string]any{"code": "resource_missing"},
	},
	{
		name: "panic below a compressor in between", handler: compress(true)(panicking("bug")), request: acceptGzip,
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic}, check: without("Content-Encoding"),
	},

	{
		name: "panic below a compressor that closes its stream",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			gz := gzip.NewWriter(w)
			defer gz.Close()
			w.Header().Set("Content-Encoding", "gzip")
			panic("bug")
		}),
		request: acceptGzip,
		broken:  true, status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 23.}, others: []string{logPanic},
	},
	// Chains in chains.
	{
		name: "a Stack in a Stack", handler: (&seawall.Stack{Logger: discard, Timeout: time.Minute}).Handler(panicking("bug")),
		status: 500, code: apierror.CodeAPIError,
	},
}

func TestResponses(t *testing.T) {
	t.Parallel()
	runExchanges(t, responseExchanges)
}

// A reverse proxy passes on a 1xx, and then clears the header: golang/go#81207.
func TestHeaderFieldsSurviveAnInformationalResponse(t *testing.T) {
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

// The fields are only restored after a 1xx.
func TestHandlersMayRemoveHeaderFields(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.RequestID(nil)(plain(func(w http.ResponseWriter, _ *http.Request) {
		clear(w.Header())
		io.WriteString(w, "ok")
	})), nil)
	require.NotContains(t, w.Header(), "Request-Id")
}
