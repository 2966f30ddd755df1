package seawall_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// lateExchanges are failures after the response has begun.
var lateExchanges = []exchange{
	// Failures after a part of the response.
	{
		name: "error after a part", handler: failing(part, apierror.CodeResourceMissing),
		broken: true, status: 200, logged: map[string]any{"late_code": "resource_missing", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name: "error after a part that was flushed", handler: failing(flushedPart, apierror.CodeResourceMissing),
		broken: true, status: 200, logged: map[string]any{"late_code": "resource_missing", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name: "panic after a part",
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
		name: "error after less than the Content-Length",
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
		name:    "error after a part that a foreign writer buffers",
		handler: holding(failing(part, apierror.CodeResourceMissing)),
		broken:  true, status: 0, logged: map[string]any{"late_code": "resource_missing"}, others: []string{logAborted},
	},
	{
		name: "error before a foreign writer buffers anything", handler: holding(failing(nil, apierror.CodeResourceMissing)),
		status: 404, code: apierror.CodeResourceMissing,
	},
	// Failures after the whole response.
	{
		name: "error after the complete response", handler: failing(whole, errSecret),
		status: 200, body: "{}", logged: map[string]any{"late_code": "api_error"}, others: []string{logComplete},
	},
	{
		name: "panic after the complete response",
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
		name:    "error after the handler has written a 4xx itself",
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
}

func TestLateFailures(t *testing.T) {
	t.Parallel()
	runExchanges(t, lateExchanges)
}

// respond writes a status, a Content-Length unless it is negative, and a body.
func respond(status, length int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if length >= 0 {
			w.Header().Set("Content-Length", strconv.Itoa(length))
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// begunResponse is a response that has begun when its handler fails, and whether an error
// or a panic aborts it.
type begunResponse struct {
	name   string
	method string
	status int
	begin  func(http.ResponseWriter)
	body   string // if it is not aborted

	errorAborts, panicAborts bool
}

var begunResponses = []begunResponse{
	{"200", http.MethodPost, 200, respond(200, -1, "part"), "", true, true},
	{"201 without a Content-Length", http.MethodPost, 201, respond(201, -1, "part"), "", true, true},
	{"201 without a body", http.MethodPost, 201, respond(201, -1, ""), "", true, true},
	{"201 without its last byte", http.MethodPost, 201, respond(201, 5, "part"), "", true, true},
	{"201 that is complete", http.MethodPost, 201, respond(201, 4, "part"), "part", false, false},
	{"201 with an empty body", http.MethodPost, 201, respond(201, 0, ""), "", false, false},
	{"204", http.MethodPost, 204, respond(204, -1, ""), "", false, false},
	{"304", http.MethodGet, 304, respond(304, -1, ""), "", false, false},
	{"399", http.MethodPost, 399, respond(399, -1, "part"), "", true, true},
	{"400", http.MethodPost, 400, respond(400, -1, "part"), "part", false, true},
	{"422", http.MethodPost, 422, respond(422, -1, "part"), "part", false, true},
	{"422 without a body", http.MethodPost, 422, respond(422, -1, ""), "", false, true},
	{"422 that is complete", http.MethodPost, 422, respond(422, 4, "part"), "part", false, false},
	{"503", http.MethodPost, 503, respond(503, -1, "part"), "part", false, true},
	{"HEAD", http.MethodHead, 200, respond(200, -1, "part"), "", false, false},
	{"HEAD without the last byte", http.MethodHead, 200, respond(200, 5, "part"), "", false, false},
	{"HEAD without a body", http.MethodHead, 201, respond(201, -1, ""), "", false, false},
	{"HEAD of a 422", http.MethodHead, 422, respond(422, -1, ""), "", false, false},
}

// lateFailure is a failure after the response has begun.
type lateFailure struct {
	name    string
	err     error // nil for a panic
	code    string
	message string // of the record if the response is complete
}

func TestFailuresAfterTheResponseHasBegun(t *testing.T) {
	t.Parallel()
	failures := []lateFailure{
		{"client's error", apierror.CodePermissionDenied, "permission_denied", logComplete},
		{"service's error", errSecret, "api_error", logComplete},
		{"panic", nil, "api_error", logPanic},
	}
	for _, protocol := range protocols {
		for _, row := range begunResponses {
			for _, failure := range failures {
				t.Run(protocol.name+"/"+row.name+"/"+failure.name, func(t *testing.T) {
					t.Parallel()
					row.run(t, protocol.new, failure)
				})
			}
		}
	}
}

func (row begunResponse) run(t *testing.T, newServer func(http.Handler) *memhttp.Server, failure lateFailure) {
	aborts, message := row.errorAborts, failure.message
	switch {
	case failure.err == nil:
		aborts = row.panicAborts
	case aborts:
		message = logAborted
	}
	var logs logs
	answered := make(chan *apierror.Error, 2)
	metrics := func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) {
			defer func() { answered <- seawall.ErrorFrom(r.Context()) }()
			next.ServeHTTP(w, r)
		})
	}
	stack := &seawall.Stack{Logger: logs.logger(), Authenticate: metrics}
	s := newServer(seawall.Chain(seawall.RequestID(nil), metrics)(stack.Handler(apierror.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) error {
			row.begin(w)
			if failure.err == nil {
				panic("bug")
			}
			return failure.err
		}))))
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), row.method, s.URL, nil)
	require.NoError(t, err)

	a := do(s.Client(), r)
	s.Close()

	row.requireAnswer(t, a, aborts)
	require.Nil(t, <-answered)
	require.Nil(t, <-answered)
	row.requireAccess(t, logs.access(t), aborts, failure.code)
	require.Equal(t, []string{message}, logs.others(t))
	require.Empty(t, s.Log())
}

func (row begunResponse) requireAnswer(t *testing.T, a answer, aborted bool) {
	t.Helper()
	if a.Response != nil {
		require.Equal(t, row.status, a.StatusCode)
	}
	if aborted {
		a.requireBroken(t)
		return
	}
	require.NoError(t, a.err)
	require.Equal(t, row.body, string(a.body))
	a.requireID(t)
}

func (row begunResponse) requireAccess(t *testing.T, lines []map[string]any, aborted bool, lateCode string) {
	t.Helper()
	require.Len(t, lines, 1)
	line := lines[0]
	require.InDelta(t, row.status, line["status"], 0)
	require.Equal(t, lateCode, line["late_code"])
	require.NotContains(t, line, "code")
	if aborted {
		require.Equal(t, true, line["aborted"])
		return
	}
	require.NotContains(t, line, "aborted")
	require.InDelta(t, len(row.body), line["bytes"], 0)
}

func TestALateErrorAbortsTheResponseWithoutAChain(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		s := protocol.new(failing(part, apierror.CodePermissionDenied))
		defer s.Close()
		post(t, s, "/").requireBroken(t)
	}
}

func TestLateErrorsAreLoggedWithTheirRequest(t *testing.T) {
	t.Parallel()
	late := failing(whole, apierror.CodePermissionDenied)
	for name, row := range map[string]struct {
		h    http.Handler
		code any
	}{
		"of the request":                    {late, "permission_denied"},
		"of a clone with the same writer":   {cloned(late), "permission_denied"},
		"of a clone below a foreign writer": {wrapped(1)(cloned(late)), "permission_denied"},
		"of a sub-request with its own writer": {plain(func(_ http.ResponseWriter, r *http.Request) {
			late.ServeHTTP(httptest.NewRecorder(), r.Clone(r.Context()))
		}), nil},
		"below a replaced context":             {replacesContext(late), "permission_denied"},
		"below a replaced context, of a clone": {cloned(replacesContext(late)), "permission_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			stack := &seawall.Stack{Logger: logs.logger(), Renderer: &apierror.Renderer{Logger: discard}}
			serveOne(stack.Handler(row.h), nil)
			require.Equal(t, row.code, logs.access(t)[0]["late_code"])
		})
	}
}

// Middleware between may send another response than the one that was written to it.
func TestAnErrorThatWasReplacedIsNotLogged(t *testing.T) {
	t.Parallel()
	replacing := func(status int) seawall.Middleware {
		return func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&held{ResponseWriter: w}, r)
				w.WriteHeader(status)
			})
		}
	}
	for name, inside := range map[string]seawall.Middleware{
		"nothing":   nil,
		"RequestID": seawall.RequestID(nil),
		"Stack":     (&seawall.Stack{Logger: discard}).Handler,
	} {
		for status, code := range map[int]any{http.StatusAccepted: nil, http.StatusNotFound: "resource_missing"} {
			t.Run(name+"/"+http.StatusText(status), func(t *testing.T) {
				t.Parallel()
				var logs logs
				h := seawall.Chain(replacing(status), inside)(failing(nil, apierror.CodeResourceMissing))
				serveOne((&seawall.Stack{Logger: logs.logger()}).Handler(h), nil)
				line := logs.access(t)[0]
				require.InDelta(t, status, line["status"], 0)
				require.Equal(t, code, line["code"])
			})
		}
	}
}

// A handler may begin a response and then pass it on to another chain.
func TestAChainMayContinueAResponseThatHasBegun(t *testing.T) {
	t.Parallel()
	for outer, outside := range map[string]seawall.Middleware{
		"Recover": seawall.Recover(discard),
		"Timeout": seawall.Timeout(time.Hour),
		"HandlerFunc": func(next http.Handler) http.Handler {
			return apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { next.ServeHTTP(w, r); return nil })
		},
	} {
		for inner, inside := range map[string]seawall.Middleware{
			"RequestID":                    seawall.RequestID(nil),
			"Renderer":                     (&apierror.Renderer{}).Handler,
			"Stack":                        (&seawall.Stack{Logger: discard}).Handler,
			"Stack below a foreign writer": seawall.Chain(wrapped(1), (&seawall.Stack{Logger: discard}).Handler),
		} {
			t.Run(outer+"/"+inner, func(t *testing.T) {
				t.Parallel()
				rest := inside(plain(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "rest") }))
				w := serveOne(outside(plain(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "part, ")
					rest.ServeHTTP(w, r)
				})), nil)
				require.Equal(t, "part, rest", w.Body.String())
			})
		}
	}
}
