package seawall_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// behaviours is what must hold, one row each. Every row runs over HTTP/1 and HTTP/2.
var behaviours = []behaviour{
	// Successes.
	{name: "success", handler: ok, status: 200, body: "ok"},
	{name: "nothing written", handler: plain(func(http.ResponseWriter, *http.Request) {}), status: 200},
	{name: "HEAD", handler: ok, request: method(http.MethodHead), status: 200, logged: map[string]any{"bytes": 0.}},
	{name: "204", handler: plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), status: 204},

	{
		name: "a second status is the handler's mistake, and net/http's to complain of",
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
		name: "error after headers of the body that does not come",
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
		name: "panic after headers of the body that does not come",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Content-Encoding", "br")
			w.Header().Set("Etag", `"v1"`)
			panic(errSecret)
		}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
		check: without("Content-Encoding", "Etag"),
	},

	// Panics, whatever the value.
	{name: "panic", handler: panicking("secret"), status: 500, code: apierror.CodeAPIError, others: []string{logPanic}},
	{name: "panic with an error", handler: panicking(errSecret), status: 500, code: apierror.CodeAPIError, others: []string{logPanic}},
	{
		name: "panic with an API error", handler: panicking(apierror.ResourceMissing("customer")),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{name: "panic with nil", handler: panicking(nil), status: 500, code: apierror.CodeAPIError, others: []string{logPanic}},
	{
		name: "panic with what cannot be printed", handler: panicking(shy{"secret"}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "panic with what cannot be printed by any means", handler: panicking(shyer{"secret"}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name:    "panic with what cannot be compared",
		handler: panicking([]func(){nil}), status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "runtime error",
		handler: plain(func(http.ResponseWriter, *http.Request) {
			var w http.ResponseWriter
			w.WriteHeader(http.StatusOK)
		}),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "panic with a wrapped http.ErrAbortHandler is a bug", handler: panicking(fmt.Errorf("wrapped: %w", http.ErrAbortHandler)),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "a status that net/http refuses", handler: plain(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(0) }),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{name: "http.ErrAbortHandler", handler: panicking(http.ErrAbortHandler), broken: true, status: 0},
	{
		name: "runtime.Goexit", handler: plain(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }),
		broken: true, status: 500, logged: map[string]any{"code": "api_error", "bytes": 140.}, others: []string{logPanic},
	},
	{
		name: "panic of a request that asks for an upgrade", handler: panicking("bug"),
		h1Only: "HTTP/2 has no Connection header (RFC 9113, section 8.2.2)",
		request: func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
		},
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "panic in the middle, of a request that asks for an upgrade",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			part(w)
			panic("bug")
		}),
		h1Only:  "HTTP/2 has no Connection header (RFC 9113, section 8.2.2)",
		request: func(r *http.Request) { r.Header.Set("Connection", "Upgrade") },
		broken:  true, status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 6.}, others: []string{logPanic},
	},

	// Failures after a part of the response.
	{
		name: "error in the middle", handler: failing(part, apierror.CodeResourceMissing),
		broken: true, status: 200, logged: map[string]any{"late_code": "resource_missing", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name: "error in the middle, after a flush", handler: failing(flushedPart, apierror.CodeResourceMissing),
		broken: true, status: 200, logged: map[string]any{"late_code": "resource_missing", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name: "panic in the middle",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			flushedPart(w)
			panic("bug")
		}),
		broken: true, status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 6.}, others: []string{logPanic},
	},
	{
		name: "error after a flush of nothing", handler: failing(func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, errSecret),
		broken: true, status: 200, logged: map[string]any{"late_code": "api_error"}, others: []string{logAborted},
	},
	{
		name: "error after a status", handler: failing(func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) }, errSecret),
		broken: true, status: 201, logged: map[string]any{"late_code": "api_error"}, others: []string{logAborted},
	},
	{
		name: "error after less than the announced length",
		handler: failing(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10")
			part(w)
		}, errSecret),
		broken: true, status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name: "error after an informational status",
		handler: failing(func(w http.ResponseWriter) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
		}, apierror.CodeResourceMissing),
		request: func(r *http.Request) {
			*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					r.Header.Set("Seen-By-The-Test", fmt.Sprint(code, " ", h.Get("Link")))
					return nil
				},
			}))
		},
		status: 404, code: apierror.CodeResourceMissing,
		check: func(t *testing.T, a answer) {
			require.Equal(t, "103 </style.css>; rel=preload", a.Request.Header.Get("Seen-By-The-Test"))
		},
	},

	{
		name:    "error in the middle of what a foreign writer holds back",
		handler: holding(failing(part, apierror.CodeResourceMissing)),
		broken:  true, status: 0, logged: map[string]any{"late_code": "resource_missing"}, others: []string{logAborted},
	},
	{
		name: "error before a foreign writer that holds back has anything", handler: holding(failing(nil, apierror.CodeResourceMissing)),
		status: 404, code: apierror.CodeResourceMissing,
	},

	// Failures after the whole response.
	{
		name: "error at the end", handler: failing(whole, errSecret),
		status: 200, body: "{}", logged: map[string]any{"late_code": "api_error"}, others: []string{logComplete},
	},
	{
		name: "panic at the end",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			whole(w)
			panic("bug")
		}),
		status: 200, body: "{}", logged: map[string]any{"late_code": "api_error"}, others: []string{logPanic},
	},
	{
		name: "error after 204", handler: failing(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, errSecret),
		status: 204, logged: map[string]any{"late_code": "api_error"}, others: []string{logComplete},
	},
	{
		name: "error after 304", handler: failing(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotModified) }, errSecret),
		status: 304, logged: map[string]any{"late_code": "api_error"}, others: []string{logComplete},
	},
	{
		name: "error after the body of a HEAD", handler: failing(part, errSecret), request: method(http.MethodHead),
		status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 0.}, others: []string{logComplete},
	},
	{
		name:    "error after a refusal of the handler's own",
		handler: failing(func(w http.ResponseWriter) { http.Error(w, "teapot", http.StatusTeapot) }, errSecret),
		status:  418, body: "teapot\n", logged: map[string]any{"late_code": "api_error"}, others: []string{logComplete},
	},
	{
		name: "error after a hijack",
		handler: failing(func(w http.ResponseWriter) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, "HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
				c.Close()
			}
		}, errSecret),
		h1Only: "HTTP/2 connections cannot be hijacked",
		check:  func(t *testing.T, a answer) { require.Equal(t, 299, a.StatusCode) },
		logged: map[string]any{"status": 0., "late_code": "api_error"}, others: []string{logHijacked},
	},
	{
		name: "panic after a hijack through foreign writers",
		handler: wrapped(3)(plain(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(c, "HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
				c.Close()
			}
			panic("bug")
		})),
		outside: wrapped(3),
		h1Only:  "HTTP/2 connections cannot be hijacked",
		check:   func(t *testing.T, a answer) { require.Equal(t, 299, a.StatusCode) },
		logged:  map[string]any{"status": 0., "late_code": "api_error"}, others: []string{logPanic},
	},

	// Bodies.
	{name: "body of exactly the limit", stack: &seawall.Stack{MaxBody: 8}, handler: reading, request: body(8), status: 200, body: "8"},
	{
		name: "body over the limit", stack: &seawall.Stack{MaxBody: 8}, handler: reading, request: body(9),
		status: 413, code: apierror.CodeRequestTooLarge,
	},
	{
		name: "body over the limit behind wrappers closes the connection", stack: &seawall.Stack{MaxBody: 8},
		outside: wrapped(3), handler: wrapped(3)(reading), request: body(9),
		h1Only: "HTTP/2 ends the stream, not the connection",
		status: 413, code: apierror.CodeRequestTooLarge,
		check: func(t *testing.T, a answer) { require.True(t, a.Close, "no Connection: close") },
	},
	{
		name: "body announced with exactly the limit", stack: &seawall.Stack{MaxBody: 8}, handler: reading,
		request: func(r *http.Request) {
			r.Method, r.ContentLength = http.MethodPost, 8
			r.Body = io.NopCloser(strings.NewReader("12345678"))
		},
		status: 200, body: "8",
	},
	{
		name: "body announced over the limit", stack: &seawall.Stack{MaxBody: 8}, handler: panicking("the handler ran"),
		request: func(r *http.Request) {
			r.Method, r.ContentLength = http.MethodPost, 9
			r.Body = io.NopCloser(strings.NewReader("123456789"))
		},
		status: 413, code: apierror.CodeRequestTooLarge,
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
		name: "error below an outer compressor that says so at once", outside: compress(true), handler: panicking("bug"),
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
		name: "panic below a compressor that ends its stream on the way up",
		handler: plain(func(w http.ResponseWriter, _ *http.Request) {
			gz := gzip.NewWriter(w)
			defer gz.Close()
			w.Header().Set("Content-Encoding", "gzip")
			panic("bug")
		}),
		request: acceptGzip,
		broken:  true, status: 200, logged: map[string]any{"late_code": "api_error", "bytes": 23.}, others: []string{logPanic},
	},

	// ServeMux.
	{
		name: "no such route", handler: mux("GET /v1/things", ok), request: path("/v1/hush"),
		status: 404, code: apierror.CodeResourceMissing,
	},
	{
		name: "no such method", handler: mux("GET /v1/things", ok),
		request: func(r *http.Request) { r.Method, r.URL.Path = http.MethodDelete, "/v1/things" },
		status:  405, code: apierror.CodeMethodNotAllowed,
		check: func(t *testing.T, a answer) { require.Equal(t, []string{"GET, HEAD"}, a.Header["Allow"]) },
	},
	{
		name: "redirect to the folder", handler: mux("GET /v1/things/", ok), request: path("/v1/things"),
		check: func(t *testing.T, a answer) {
			require.Equal(t, "/v1/things/?key=hush", a.Header.Get("Location"))
			a.requireID(t)
		},
		status: 307, logged: map[string]any{"pattern": "GET /v1/things/"},
	},
	{
		name: "redirect to the clean path, where no route is", handler: mux("GET /v1/things", ok), request: path("/v1//hush"),
		check:  func(t *testing.T, a answer) { require.Equal(t, "/v1/hush?key=hush", a.Header.Get("Location")) },
		status: 307,
	},
	{
		name: "a handler's own 404", handler: mux("GET /v1/{thing}", http.NotFoundHandler()), request: path("/v1/hush"),
		status: 404, body: "404 page not found\n", logged: map[string]any{"pattern": "GET /v1/{thing}"},
	},
	{
		name: "a matched route", handler: mux("GET /v1/{thing}", ok), request: path("/v1/hush"),
		stack:  &seawall.Stack{Timeout: time.Minute},
		status: 200, body: "ok", logged: map[string]any{"pattern": "GET /v1/{thing}"},
	},
	{
		name: "CONNECT", handler: mux("GET /v1/things", ok),
		request: func(r *http.Request) {
			r.Method, r.URL = http.MethodConnect, &url.URL{Scheme: "http", Host: "hush.example:443"}
		},
		status: 404, code: apierror.CodeResourceMissing,
	},
	{
		name: "target *", handler: mux("/", ok), request: func(r *http.Request) { r.URL.Opaque, r.URL.RawQuery = "*", "" },
		status: 400, code: apierror.CodeParameterInvalid,
	},

	// Time-outs.
	{
		name: "deadline ignored", stack: &seawall.Stack{Timeout: time.Second},
		handler: plain(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }),
		status:  504, code: apierror.CodeTimeout, others: []string{logFailed},
	},
	{
		name: "deadline returned", stack: &seawall.Stack{Timeout: time.Second},
		handler: apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			if d, ok := r.Context().Deadline(); !ok || time.Until(d) != time.Second {
				return fmt.Errorf("the deadline is %v", d)
			}
			<-r.Context().Done()
			return fmt.Errorf("query: %w", r.Context().Err())
		}),
		status: 504, code: apierror.CodeTimeout, others: []string{logFailed},
	},
	{
		name: "deadline in the middle, and the handler goes on", stack: &seawall.Stack{Timeout: time.Second},
		handler: plain(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "it ")
			<-r.Context().Done()
			io.WriteString(w, "ends")
		}),
		status: 200, body: "it ends",
	},
	{
		name: "deadline in the middle, and the handler gives up", stack: &seawall.Stack{Timeout: time.Second},
		handler: apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			flushedPart(w)
			<-r.Context().Done()
			return r.Context().Err()
		}),
		broken: true, status: 200, logged: map[string]any{"late_code": "timeout", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name:  "exempt from the deadline",
		stack: &seawall.Stack{Timeout: time.Second, Skip: func(*http.Request) bool { return true }},
		handler: plain(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			fmt.Fprint(w, r.Context().Err())
		}),
		status: 200, body: "<nil>",
	},
	{
		name: "http.TimeoutHandler inside",
		handler: http.TimeoutHandler(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(time.Minute)
			part(w)
			return errSecret // the response is long gone; the slot is still there
		}), time.Second, "too slow"),
		status: 503, body: "too slow", others: []string{logAborted},
	},
	{
		name: "panic inside of http.TimeoutHandler", handler: http.TimeoutHandler(panicking("bug"), time.Second, "too slow"),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name:    "http.TimeoutHandler outside",
		outside: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Second, "too slow") },
		handler: failing(func(http.ResponseWriter) { time.Sleep(time.Minute) }, apierror.CodeResourceMissing),
		check: func(t *testing.T, a answer) {
			require.Equal(t, 503, a.StatusCode)
			require.Equal(t, "too slow", string(a.body))
		},
		status: 404, code: "", logged: map[string]any{"code": "resource_missing", "bytes": 0.},
	},
	{
		name:    "http.TimeoutHandler outside, in time",
		outside: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Second, "too slow") },
		handler: failing(nil, apierror.CodeResourceMissing),
		status:  404, code: apierror.CodeResourceMissing,
	},

	// Cancelled requests whose client is still there.
	{
		name: "canceled, and returned", outside: canceled,
		handler: apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			return fmt.Errorf("query: %w", r.Context().Err())
		}),
		status: 503, code: apierror.CodeServiceUnavailable, logged: map[string]any{"status": 499.},
	},
	{
		name: "canceled, and given up without a word", outside: canceled,
		handler: plain(func(http.ResponseWriter, *http.Request) {}),
		status:  503, code: apierror.CodeServiceUnavailable, logged: map[string]any{"status": 499.},
	},
	{
		name: "canceled, and given up without a word below a time-out", outside: canceled, stack: &seawall.Stack{Timeout: time.Second},
		handler: plain(func(http.ResponseWriter, *http.Request) {}),
		status:  503, code: apierror.CodeServiceUnavailable, logged: map[string]any{"status": 499.},
	},
	{name: "canceled, and answered all the same", outside: canceled, handler: ok, status: 200, body: "ok"},
	{
		name: "canceled, and panicked", outside: canceled, handler: panicking(context.Canceled),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "a cancellation that is not the request's", handler: failing(nil, context.Canceled),
		status: 500, code: apierror.CodeAPIError, others: []string{logFailed},
	},
	{
		name: "canceled, and aborted", outside: canceled, handler: panicking(http.ErrAbortHandler),
		broken: true, status: 499,
	},

	// Chains in chains.
	{
		name: "a Stack in a Stack", handler: (&seawall.Stack{Logger: discard, Timeout: time.Minute}).Handler(panicking("bug")),
		status: 500, code: apierror.CodeAPIError,
	},
}
