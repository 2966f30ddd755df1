package seawall_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// The parts that the service supplies, from the outside in.
func TestStackOrder(t *testing.T) {
	t.Parallel()
	var got trace
	stack := &seawall.Stack{
		Logger:       discard,
		Idempotency:  got.middleware("idempotency"),
		RateLimit:    got.middleware("rate limit"),
		Authenticate: got.middleware("authenticate"),
		AddressLimit: got.middleware("address limit"),
		Skip:         func(r *http.Request) bool { return r.Header.Get("Skip") != "" },
	}
	h := stack.Handler(got.handler())

	serveOne(h, nil)
	require.Equal(t, trace{"address limit", "authenticate", "rate limit", "idempotency", "handler",
		"/idempotency", "/rate limit", "/authenticate", "/address limit"}, got)

	got = nil
	serveOne(h, http.Header{"Skip": {"yes"}})
	require.Equal(t, trace{"authenticate", "handler", "/authenticate"}, got)
}

// deadlines is a slog.Handler that notes which messages have a context with a deadline.
type deadlines struct {
	slog.Handler
	of map[string]bool
}

func (d deadlines) Enabled(context.Context, slog.Level) bool { return true }

func (d deadlines) Handle(ctx context.Context, record slog.Record) error {
	_, d.of[record.Message] = ctx.Deadline()
	return nil
}

// Each part is shown to be outside of the next.
func TestStackOrderOfItsOwnParts(t *testing.T) {
	t.Parallel()
	var logs logs
	seen := deadlines{slog.DiscardHandler, map[string]bool{}}
	inside, release := make(chan struct{}), make(chan struct{})
	reached := 0
	stack := &seawall.Stack{
		Logger:      logs.logger(),
		Renderer:    &apierror.Renderer{Logger: slog.New(seen)},
		Timeout:     time.Hour,
		MaxBody:     8,
		MaxInFlight: 1,
		AddressLimit: func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				reached++
				assert.Regexp(t, requestIDForm, apierror.RequestIDFrom(r.Context()))
				close(inside)
				<-release
				panic("bug")
			})
		},
	}
	h := stack.Handler(ok)
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveOne(h, nil)
	}()
	<-inside

	large := httptest.NewRecorder()
	h.ServeHTTP(large, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("too large")))
	require.Equal(t, http.StatusRequestEntityTooLarge, large.Code, "MaxBody is outside of MaxInFlight")
	require.True(t, seen.of[logFailed], "Timeout is outside of MaxBody")

	require.Equal(t, http.StatusServiceUnavailable, serveOne(h, nil).Code)
	require.Equal(t, 1, reached, "the bound on requests is outside of the address limit")

	close(release)
	<-done
	lines := logs.access(t)
	require.Len(t, lines, 3)
	require.InDelta(t, 500, lines[2]["status"], 0, "the access log is outside of recovery")
	require.Equal(t, "api_error", lines[2]["code"])
	for _, line := range lines {
		require.Regexp(t, requestIDForm, line["request_id"], "the request id is outside of the access log")
	}
}

// A 401 or a 429 is never kept as the answer to a key, and replays are limited too.
func TestStackWithLimitsAndIdempotency(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ran := 0
				stack := &seawall.Stack{
					Logger:       discard,
					Authenticate: authorized("acct_1"),
					RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
						Limit: ratelimit.PerSecond(1), Key: ratelimit.ByPrincipal,
					}),
					Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
				}
				s := protocol.new(stack.Handler(plain(func(w http.ResponseWriter, _ *http.Request) {
					ran++
					fmt.Fprint(w, "ran ", ran)
				})))
				defer s.Close()
				send := func(key, authorization string) answer {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
					require.NoError(t, err)
					r.Header.Set("Idempotency-Key", key)
					r.Header.Set("Authorization", authorization)
					return do(s.Client(), r)
				}

				send("first", "").requireError(t, http.StatusUnauthorized, apierror.CodeAuthenticationFailed)
				require.Equal(t, "ran 1", string(send("first", "yes").body))
				send("first", "yes").requireError(t, http.StatusTooManyRequests, apierror.CodeRateLimitExceeded)
				send("second", "yes").requireError(t, http.StatusTooManyRequests, apierror.CodeRateLimitExceeded)
				time.Sleep(time.Second)
				require.Equal(t, "ran 2", string(send("second", "yes").body))
				time.Sleep(time.Second)
				again := send("first", "yes")
				require.Equal(t, "ran 1", string(again.body))
				require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
				require.NotEqual(t, again.Header.Get("Original-Request"), again.requireID(t))
			})
		})
	}
}

func TestPanicsOfTheServicesMiddlewareAreAnswered(t *testing.T) {
	t.Parallel()
	bad := func(http.Handler) http.Handler { return panicking("bug") }
	for name, stack := range map[string]*seawall.Stack{
		"AddressLimit": {AddressLimit: bad},
		"Authenticate": {Authenticate: bad},
		"RateLimit":    {RateLimit: bad},
		"Idempotency":  {Idempotency: bad},
		"Skip":         {Skip: func(*http.Request) bool { panic("bug") }},
		"NoTimeout":    {Timeout: time.Hour, NoTimeout: func(*http.Request) bool { panic("bug") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stack.Logger = discard
			require.Equal(t, http.StatusInternalServerError, serveOne(stack.Handler(ok), nil).Code)
		})
	}
}

// The zero Stack has request ids, an access log and recovery.
func TestTheZeroStackGivesEachRequestAnID(t *testing.T) {
	t.Parallel()
	w := serveOne((&seawall.Stack{Logger: discard}).Handler(showID), nil)
	require.Equal(t, w.Header().Get("Request-Id"), w.Body.String())
	require.Regexp(t, requestIDForm, w.Body.String())
}

func TestOptionsOfTheStackDefaultToItsLoggerAndMux(t *testing.T) {
	t.Parallel()
	panics := func(*http.Request) bool { panic("hook") }
	routes := mux("POST /v1/things", ok)
	for name, row := range map[string]struct {
		requestID *seawall.RequestIDOptions
		accessLog *seawall.AccessLogOptions
	}{
		"defaults": {&seawall.RequestIDOptions{Inbound: panics}, nil},
		"set": {
			&seawall.RequestIDOptions{Inbound: panics, Logger: discard},
			&seawall.AccessLogOptions{Logger: discard, Mux: http.NewServeMux()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			refusing := func(http.Handler) http.Handler { return failing(nil, apierror.CodeAuthenticationFailed) }
			stack := &seawall.Stack{
				Logger: logs.logger(), RequestID: row.requestID, AccessLog: row.accessLog, Authenticate: refusing,
			}
			r := httptest.NewRequest(http.MethodPost, "/v1/things", nil)

			stack.Handler(routes).ServeHTTP(httptest.NewRecorder(), r)

			if name == "set" {
				require.Empty(t, logs.String())
				require.Empty(t, r.Pattern)
				return
			}
			require.Equal(t, []string{logPanic}, logs.others(t))
			require.Equal(t, "POST /v1/things", logs.access(t)[0]["pattern"])
			require.Equal(t, "POST /v1/things", r.Pattern)
		})
	}
}

func TestChangesAfterHandlerHaveNoEffect(t *testing.T) {
	t.Parallel()
	renderer := &apierror.Renderer{Strict: true}
	stack := &seawall.Stack{
		Logger: discard, Renderer: renderer, MaxBody: 1, Skip: func(*http.Request) bool { return false }, Authenticate: as("acct_1"),
	}
	h := stack.Handler(showPrincipal)
	*stack = seawall.Stack{Skip: func(*http.Request) bool { return true }, Authenticate: as("acct_2")}
	*renderer = apierror.Renderer{}

	require.Equal(t, "acct_1", serveOne(h, nil).Body.String())
	large := httptest.NewRecorder()
	h.ServeHTTP(large, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("large")))
	require.Equal(t, http.StatusBadRequest, large.Code, "no longer strict, or no longer bounded")
}

func TestInvalidArgumentsPanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		panics string
		f      func()
	}{
		"Timeout(0)":           {"seawall: Timeout needs a positive duration", func() { seawall.Timeout(0) }},
		"Timeout(-1)":          {"seawall: Timeout needs a positive duration", func() { seawall.Timeout(-1) }},
		"MaxBody(0)":           {"seawall: MaxBody needs a positive number of bytes", func() { seawall.MaxBody(0) }},
		"MaxBody(-1)":          {"seawall: MaxBody needs a positive number of bytes", func() { seawall.MaxBody(-1) }},
		"MaxInFlight(0)":       {"seawall: MaxInFlight needs a positive number of requests", func() { seawall.MaxInFlight(0) }},
		"MaxInFlight(-1)":      {"seawall: MaxInFlight needs a positive number of requests", func() { seawall.MaxInFlight(-1) }},
		"WrapMux(nil)":         {"seawall: WrapMux was given a nil *http.ServeMux", func() { seawall.WrapMux(nil) }},
		"Stack.Handler of nil": {"seawall: Stack.Handler was given a nil http.Handler", func() { (&seawall.Stack{}).Handler(nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.PanicsWithValue(t, f.panics, f.f)
		})
	}
	require.PanicsWithValue(t, "seawall: WrapMux was given a nil *http.ServeMux", func() {
		var mux *http.ServeMux
		(&seawall.Stack{}).Handler(mux)
	})
	for name, stack := range map[string]*seawall.Stack{
		"Timeout":     {Timeout: -1},
		"MaxBody":     {MaxBody: -1},
		"MaxInFlight": {MaxInFlight: -1},
	} {
		t.Run("Stack with a negative "+name, func(t *testing.T) {
			t.Parallel()
			require.PanicsWithValue(t, "seawall: the Stack has a negative Timeout, MaxBody or MaxInFlight", func() { stack.Handler(ok) })
		})
	}
}

func TestStackAcceptsTheSmallestBounds(t *testing.T) {
	t.Parallel()
	h := (&seawall.Stack{Logger: discard, Timeout: 1, MaxBody: 1, MaxInFlight: 1}).Handler(
		plain(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			_, deadline := r.Context().Deadline()
			fmt.Fprint(w, err, deadline)
		}))
	r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(strings.NewReader("12")))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "http: request body too large true", w.Body.String())
}

func TestStackKeepsInterfaces(t *testing.T) {
	t.Parallel()
	stack := &seawall.Stack{
		Logger: discard, Timeout: time.Minute, MaxBody: 1, MaxInFlight: 1, Authenticate: as("acct_1"),
	}
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			s := protocol.new(stack.Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				_, readerFrom := w.(io.ReaderFrom)
				assert.Equal(t, protocol.name == "h1", readerFrom)
				assert.Implements(t, (*http.Flusher)(nil), w)
				assert.Implements(t, (*io.StringWriter)(nil), w)
				return nil
			})))
			defer s.Close()
			require.NoError(t, get(t, s, "/").err)
		})
	}
}

// The race detector reports a handler that writes to its request.
func TestARequestMayBeServedTwiceAtTheSameTime(t *testing.T) {
	t.Parallel()
	h := (&seawall.Stack{Logger: discard, Authenticate: as("acct_1")}).Handler(ok)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	}
	wg.Wait()
}

// router is another router, with its own 404.
type router map[string]http.Handler

func (rt router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, ok := rt[r.URL.Path]
	if !ok {
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	h.ServeHTTP(w, r)
}

func TestStackAroundAnotherRouter(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			s := protocol.new((&seawall.Stack{Logger: logs.logger()}).Handler(router{
				"/":     ok,
				"/fail": failing(nil, apierror.CodePermissionDenied),
			}))
			defer s.Close()
			require.Equal(t, "ok", string(get(t, s, "/").body))
			get(t, s, "/fail").requireError(t, http.StatusForbidden, apierror.CodePermissionDenied)
			a := get(t, s, "/nothing")
			require.Equal(t, http.StatusNotFound, a.StatusCode)
			require.Equal(t, "no such page\n", string(a.body))
			a.requireID(t)
		})
	}
}

// Responses have one id, and a response that the service behind the proxy aborts is aborted.
func TestStackAroundAReverseProxy(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			routes := http.NewServeMux()
			routes.Handle("/error", failing(nil, apierror.CodePermissionDenied))
			routes.Handle("/cut", failing(flushedPart, errSecret))
			service := protocol.new((&seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: everyone}}).Handler(routes))
			defer service.Close()
			target, err := url.Parse(service.URL)
			require.NoError(t, err)
			s := protocol.new((&seawall.Stack{Logger: discard}).Handler(&httputil.ReverseProxy{
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
				Transport: seawall.ForwardRequestID(service.Transport()),
				ModifyResponse: func(resp *http.Response) error {
					resp.Header.Del("Request-Id")
					resp.Header.Del("X-Request-Id")
					return nil
				},
				ErrorHandler: apierror.Write,
				ErrorLog:     log.New(io.Discard, "", 0),
			}))
			defer s.Close()

			get(t, s, "/error").requireError(t, http.StatusForbidden, apierror.CodePermissionDenied)
			get(t, s, "/cut").requireBroken(t)
			service.Close()
			get(t, s, "/error").requireError(t, http.StatusInternalServerError, apierror.CodeAPIError)
		})
	}
}

// Both have the same id. Each has its own Renderer and log.
func TestStackInAStack(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			var innerLogs, outerLogs logs
			inner := &seawall.Stack{Logger: innerLogs.logger(), Renderer: &apierror.Renderer{Strict: true}, RequestID: &seawall.RequestIDOptions{Inbound: everyone}}
			outer := &seawall.Stack{Logger: outerLogs.logger()}
			routes := http.NewServeMux()
			routes.Handle("/inner/", inner.Handler(failing(nil, apierror.ServiceUnavailable(0))))
			routes.Handle("/outer/", failing(nil, apierror.ServiceUnavailable(0)))
			routes.Handle("/panic/", inner.Handler(panicking("bug")))
			s := protocol.new(outer.Handler(routes))
			defer s.Close()

			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/inner/", nil)
			require.NoError(t, err)
			r.Header.Set("X-Request-Id", "from-outside")
			a := do(s.Client(), r)
			a.requireError(t, http.StatusInternalServerError, apierror.CodeAPIError) // instead of 503, because the Renderer is strict
			get(t, s, "/outer/").requireError(t, http.StatusServiceUnavailable, apierror.CodeServiceUnavailable)
			get(t, s, "/panic/").requireError(t, http.StatusInternalServerError, apierror.CodeAPIError)

			s.Close()
			require.Len(t, innerLogs.access(t), 2)
			require.Len(t, outerLogs.access(t), 3)
			require.Equal(t, outerLogs.access(t)[0], innerLogs.access(t)[0])
			require.Equal(t, outerLogs.access(t)[2], innerLogs.access(t)[1])
			require.Contains(t, innerLogs.others(t), logPanic)
			require.NotContains(t, outerLogs.others(t), logPanic)
			require.Empty(t, s.Log())
		})
	}
}
