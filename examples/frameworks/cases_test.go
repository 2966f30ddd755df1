package frameworks_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks"
	"github.com/seawall-go/seawall/ratelimit"
)

var cases = []httpCase{
	{name: "success", check: func(s *server) {
		made := s.requireCreated(s.send(create(`{"name":"a"}`)))
		resp := s.send(get("/v1/resources/" + made.ID))
		require.Equal(s, http.StatusOK, resp.status)
		require.JSONEq(s, `{"id":"`+made.ID+`","name":"a"}`, resp.body)
		require.NotEmpty(s, resp.header.Get("Request-Id"))
		require.NotEmpty(s, resp.header.Get("RateLimit"))
	}},

	// What the router answers.
	{name: "unknown path", check: func(s *server) {
		s.requireError(s.send(get("/v1/nowhere")), 404, apierror.CodeResourceMissing)
		s.requireError(s.send(request{method: "POST", path: "/nowhere"}), 404, apierror.CodeResourceMissing)
		require.Empty(s, s.access().Pattern)
	}},
	{name: "wrong method", check: func(s *server) {
		s.requireError(s.send(request{method: "DELETE", path: "/v1/resources/res_1"}), 405, apierror.CodeMethodNotAllowed)
	}},
	{name: "Allow", check: func(s *server) {
		resp := s.send(request{method: "DELETE", path: "/v1/resources/res_1"})
		require.Subset(s, []string{"GET", "HEAD", "OPTIONS"}, allowed(resp))
		require.Subset(s, allowed(resp), []string{"GET", "HEAD"})
	}},
	{name: "router's answer is not kept for a key", check: func(s *server) {
		for i, r := range []request{
			{method: "POST", path: "/v1/nowhere"},
			{method: "DELETE", path: "/v1/resources/res_1"},
			{method: "POST", path: "/v1/resources/"},
			{method: "POST", path: "/v1//resources"},
			{method: "POST", path: "/V1/resources"},
		} {
			for range 2 {
				resp := s.send(r.with("Idempotency-Key", fmt.Sprint("key_", i)))
				require.Greater(s, resp.status, 300, r.path)
				require.Empty(s, resp.header.Get("Idempotent-Replayed"), r.path)
			}
		}
	}},
	{name: "HEAD", check: func(s *server) {
		made := s.requireCreated(s.send(create(`{"name":"a"}`)))
		resp := s.send(request{method: "HEAD", path: "/v1/resources/" + made.ID})
		require.Equal(s, http.StatusOK, resp.status)
		require.Equal(s, "application/json", mediaType(resp))
		require.Empty(s, resp.body)
		require.Contains(s, s.access().Pattern, "/v1/resources/{id}")
		resp = s.send(request{method: "HEAD", path: "/v1/resources/res_1"})
		require.Equal(s, http.StatusNotFound, resp.status)
		require.Equal(s, apierror.CodeResourceMissing, s.access().Code)
	}},
	{name: "OPTIONS", check: func(s *server) {
		require.Contains(s, allowed(s.send(request{method: "OPTIONS", path: "/v1/resources/res_1"})), "GET")
	}},

	{name: "escaped parameter", check: func(s *server) {
		s.requireError(s.send(get("/v1/resources/res_%62roken")), 500, apierror.CodeAPIError)
		s.requireError(s.send(get("/v1/resources/res_%2562roken")), 404, apierror.CodeResourceMissing) // it is unescaped once
	}},
	{name: "escaped slash in a parameter", check: func(s *server) {
		s.requireError(s.send(get("/v1/resources/res_%2F1")), 404, apierror.CodeResourceMissing)
		require.Equal(s, "GET /v1/resources/{id}", s.access().Pattern)
	}},

	// The pattern.
	{name: "pattern in the access log", check: func(s *server) {
		for _, id := range []string{"res_1", frameworks.IDBroken, frameworks.IDBug} {
			s.send(get("/v1/resources/" + id))
			require.Equal(s, "GET /v1/resources/{id}", s.access().Pattern, id)
		}
		s.send(create(`{}`))
		require.Equal(s, "POST /v1/resources", s.access().Pattern)
	}},
	{name: "no pattern of a wrong method", check: func(s *server) {
		s.send(request{method: "DELETE", path: "/v1/resources/res_1"})
		require.Empty(s, s.access().Pattern)
	}},
	{name: "pattern in the trace", check: func(s *server) {
		s.send(get("/v1/resources/res_1"))
		spans := s.spans.GetSpans()
		require.Len(s, spans, 1)
		require.Equal(s, "GET /v1/resources/{id}", spans[0].Name)
		require.Contains(s, s.routes(), "/v1/resources/{id}")
	}},
	{name: "pattern of an early answer", check: func(s *server) {
		s.requireError(s.send(get("/v1/resources/res_1").with("Authorization", "")), 401, apierror.CodeAuthenticationFailed)
		assert.Equal(s, "GET /v1/resources/{id}", s.access().Pattern)
		s.send(create(`{"name":"a"}`).keyed())
		s.send(create(`{"name":"a"}`).keyed())
		assert.Equal(s, "POST /v1/resources", s.access().Pattern)
		require.True(s, s.access().Replayed)
	}},

	// Errors.
	{name: "error", check: func(s *server) {
		s.requireError(s.send(get("/v1/resources/res_1")), 404, apierror.CodeResourceMissing)
		require.Equal(s, apierror.CodeResourceMissing, s.access().Code)
	}},
	{name: "unknown error", check: func(s *server) {
		e := s.requireError(s.send(get("/v1/resources/"+frameworks.IDBroken)), 500, apierror.CodeAPIError)
		require.NotContains(s, e.Message, "disk")
		failures := s.lines("apierror: request failed")
		require.Len(s, failures, 1)
		require.Equal(s, e.RequestID, failures[0].RequestID)
		require.Contains(s, s.logs.String(), "the disk is full")
	}},
	{name: "panic", check: func(s *server) {
		e := s.requireError(s.send(get("/v1/resources/"+frameworks.IDBug)), 500, apierror.CodeAPIError)
		require.Equal(s, apierror.CodeAPIError, s.access().Code)
		panics := s.lines("seawall: panic")
		require.Len(s, panics, 1)
		require.Equal(s, "a bug", panics[0].Panic)
		require.Equal(s, e.RequestID, panics[0].RequestID)
	}},
	{name: "abort", check: func(s *server) {
		s.requireAborted(get("/v1/resources/" + frameworks.IDAbort))
		require.Empty(s, s.lines("seawall: panic"))
	}},
	{name: "error in the middle of a response", check: checkBrokenEvents},
	{name: "error of a copied request", set: inside(copied), check: func(s *server) {
		s.requireError(s.send(get("/v1/resources/"+frameworks.IDBroken)), 500, apierror.CodeAPIError)
		require.Equal(s, "GET /v1/resources/{id}", s.access().Pattern)
		require.Equal(s, apierror.CodeAPIError, s.access().Code)
	}},
	{
		name: "timeout", set: expired,
		check: func(s *server) {
			s.requireError(s.send(get("/v1/resources/"+frameworks.IDSlow)), 504, apierror.CodeTimeout)
		},
	},
	{name: "client that leaves", check: func(s *server) {
		ctx, leave := context.WithCancel(s.ctx)
		go func() {
			<-s.began
			leave()
		}()
		resp, err := s.open(ctx, get("/v1/resources/"+frameworks.IDSlow))
		if err == nil {
			resp.Body.Close()
		}
		require.ErrorIs(s, err, context.Canceled)
		s.await()
		require.Equal(s, 499, s.access().Status)
		require.Empty(s, s.lines("apierror: request failed"))
	}},

	{
		name: "problem details",
		set:  func(stack *seawall.Stack) { stack.Renderer = &apierror.Renderer{Problem: true} },
		check: func(s *server) {
			for _, r := range []request{get("/v1/resources/res_1"), get("/v1/nowhere"), get("/v1/resources/" + frameworks.IDBug), create(`{}`)} {
				resp := s.send(r.with("Accept", "application/problem+json"))
				require.GreaterOrEqual(s, resp.status, 400)
				require.Equal(s, "application/problem+json", mediaType(resp), r.path)
				require.Contains(s, resp.body, `"request_id"`)
			}
		},
	},
	{
		name: "strict",
		set: func(stack *seawall.Stack) {
			stack.Renderer = &apierror.Renderer{Strict: true}
			smallBodies(stack)
		},
		check: func(s *server) {
			s.requireError(s.send(request{method: "DELETE", path: "/v1/resources/res_1"}), 404, apierror.CodeResourceMissing)
			s.requireError(s.send(large()), 400, apierror.CodeParameterInvalid)
		},
	},

	// What the client sends.
	{name: "missing parameter", check: func(s *server) {
		e := s.requireError(s.send(create(`{}`)), 400, apierror.CodeParameterMissing)
		require.Equal(s, "name", e.Param)
	}},
	{name: "parameter of the wrong type", check: func(s *server) {
		e := s.requireError(s.send(create(`{"name":7}`)), 400, apierror.CodeParameterInvalid)
		require.Equal(s, "name", e.Param)
		require.NotContains(s, e.Message, "Go ")
	}},
	{name: "body of the wrong type", check: func(s *server) {
		for _, body := range []string{`[1]`, `"a"`, `7`} {
			s.requireError(s.send(create(body)), 400, apierror.CodeParameterInvalid)
		}
	}},
	{name: "not JSON", check: func(s *server) {
		e := s.requireError(s.send(create(`{"name`)), 400, apierror.CodeParameterInvalid)
		require.Empty(s, e.Param)
		s.requireError(s.send(create(`}`)), 400, apierror.CodeParameterInvalid)
	}},
	{name: "empty body", check: func(s *server) {
		s.requireError(s.send(create("").with("Content-Type", "application/json")), 400, apierror.CodeParameterMissing)
	}},
	{name: "another media type", check: func(s *server) {
		s.requireError(s.send(create(`name=a`).with("Content-Type", "text/plain")), 415, apierror.CodeUnsupportedMediaType)
	}},
	{name: "Expect", check: func(s *server) { // the client waits for the 100
		s.requireCreated(s.send(create(`{"name":"a"}`).with("Expect", "100-continue")))
		s.requireCreated(s.send(create(`{"name":"b"}`).with("Expect", "100-continue").keyed()))
	}},
	{
		name: "large body", set: smallBodies,
		check: func(s *server) { s.requireError(s.send(large()), 413, apierror.CodeRequestTooLarge) },
	},
	{
		name: "large body of unknown length", set: smallBodies,
		check: func(s *server) {
			r := large()
			r.chunked = true
			s.requireError(s.send(r), 413, apierror.CodeRequestTooLarge)
		},
	},

	// Keys.
	{name: "replay", check: func(s *server) {
		first := s.send(create(`{"name":"a"}`).keyed())
		s.requireCreated(first)
		second := s.send(create(`{"name":"a"}`).keyed()) // names are unique, so it would fail if it ran
		require.Equal(s, first.body, second.body)
		require.Equal(s, first.status, second.status)
		require.Equal(s, "true", second.header.Get("Idempotent-Replayed"))
		require.Equal(s, first.header.Get("Content-Type"), second.header.Get("Content-Type"))
		require.Equal(s, first.header.Get("Request-Id"), second.header.Get("Original-Request"))
	}},
	{name: "replay of an error", check: func(s *server) {
		s.requireCreated(s.send(create(`{"name":"a"}`)))
		first := s.send(create(`{"name":"a"}`).keyed())
		e := s.requireError(first, 409, "name_taken")
		require.Equal(s, "name", e.Param)
		second := s.send(create(`{"name":"a"}`).keyed())
		s.requireError(second, 409, "name_taken")
		require.Equal(s, first.body, second.body) // with the id of the first request
		require.Equal(s, "true", second.header.Get("Idempotent-Replayed"))
	}},
	{name: "key of another request", check: func(s *server) {
		s.requireCreated(s.send(create(`{"name":"a"}`).keyed()))
		s.requireError(s.send(create(`{"name":"b"}`).keyed()), 409, apierror.CodeIdempotencyConflict)
	}},

	// The guards.
	{name: "no key of the API", check: func(s *server) {
		resp := s.send(get("/v1/resources/res_1").with("Authorization", ""))
		s.requireError(resp, 401, apierror.CodeAuthenticationFailed)
		require.NotEmpty(s, resp.header.Get("WWW-Authenticate"))
	}},
	{
		name: "rate limit",
		set: func(stack *seawall.Stack) {
			rule := ratelimit.Rule{Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal}
			stack.RateLimit = ratelimit.New(ratelimit.NewMemory(nil), nil, rule)
		},
		check: func(s *server) {
			s.requireCreated(s.send(create(`{"name":"a"}`)))
			resp := s.send(create(`{"name":"b"}`))
			s.requireError(resp, 429, apierror.CodeRateLimitExceeded)
			require.NotEmpty(s, resp.header.Get("Retry-After"))
		},
	},

	// Streams.
	{name: "events", check: checkEvents},
	{name: "events after the timeout", set: expired, check: checkEvents},
	{name: "websocket", check: checkWebsocket},
	{name: "events through a wrapped writer", set: inside(wrapped), check: checkEvents},
	{name: "websocket through a wrapped writer", set: inside(wrapped), check: checkWebsocket},
	{name: "events through compression outside", outside: compressed, check: checkEvents},
	{name: "events through compression inside", set: inside(compressed), check: checkEvents},

	// HTTP/2.
	{name: "errors over HTTP/2", http2: true, set: smallBodies, check: func(s *server) {
		s.requireCreated(s.send(create(`{"name":"a"}`).keyed()))
		require.Equal(s, "true", s.send(create(`{"name":"a"}`).keyed()).header.Get("Idempotent-Replayed"))
		s.requireError(s.send(get("/v1/resources/"+frameworks.IDBug)), 500, apierror.CodeAPIError)
		s.requireError(s.send(large()), 413, apierror.CodeRequestTooLarge)
		s.requireAborted(get("/v1/resources/" + frameworks.IDAbort))
	}},
	{name: "events over HTTP/2", http2: true, check: checkEvents},
	{name: "error in the middle of a response over HTTP/2", http2: true, check: checkBrokenEvents},

	// Compression and CORS.
	{name: "compression outside", outside: compressed, check: checkCompression},
	{name: "compression inside", set: inside(compressed), check: checkCompression},
	{name: "CORS", outside: crossOrigin, check: func(s *server) {
		preflight := request{method: "OPTIONS", path: "/v1/resources"}.with("Authorization", "").with("Origin", "https://example.com").
			with("Access-Control-Request-Method", "POST").with("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")
		resp := s.send(preflight)
		require.Less(s, resp.status, 300)
		require.Equal(s, "*", resp.header.Get("Access-Control-Allow-Origin"))
		require.Equal(s, "POST", resp.header.Get("Access-Control-Allow-Methods"))
		require.Contains(s, resp.header.Get("Access-Control-Allow-Headers"), "idempotency-key")
		resp = s.send(get("/v1/resources/"+frameworks.IDBug).with("Origin", "https://example.com"))
		s.requireError(resp, 500, apierror.CodeAPIError)
		require.Equal(s, []string{"*"}, resp.header.Values("Access-Control-Allow-Origin"))
		require.Contains(s, resp.header.Get("Access-Control-Expose-Headers"), "Request-Id")
	}},
}

// allowed returns the methods of the field Allow, sorted.
func allowed(resp response) []string {
	methods := strings.Fields(strings.ReplaceAll(strings.Join(resp.header.Values("Allow"), ","), ",", " "))
	return slices.Compact(slices.Sorted(slices.Values(methods)))
}

func mediaType(resp response) string {
	media, _, _ := strings.Cut(resp.header.Get("Content-Type"), ";")
	return media
}

// expired sets a Timeout that all requests exceed. It matters only to handlers that look at their
// context.
func expired(stack *seawall.Stack) { stack.Timeout = time.Nanosecond }

// smallBodies sets a MaxBody that large exceeds.
func smallBodies(stack *seawall.Stack) { stack.MaxBody = 1000 }

func large() request { return create(`{"name":"` + strings.Repeat("a", 2000) + `"}`) }

// inside puts m between the Stack and the router.
func inside(m func(http.Handler) http.Handler) func(*seawall.Stack) {
	return func(stack *seawall.Stack) { stack.Idempotency = seawall.Chain(stack.Idempotency, m) }
}

// copied serves a copy of the request, as middleware does that adds a value to its context.
func copied(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), copiedKey{}, true)))
	})
}

type copiedKey struct{}

// wrapped replaces the writer, as much middleware does.
func wrapped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrapper{w}, r) })
}

// wrapper has none of the optional interfaces, but an Unwrap method.
type wrapper struct{ w http.ResponseWriter }

func (w wrapper) Header() http.Header         { return w.w.Header() }
func (w wrapper) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w wrapper) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrapper) Unwrap() http.ResponseWriter { return w.w }

// checkEvents checks that each event arrives while the handler runs.
func checkEvents(s *server) {
	ctx, leave := context.WithCancel(s.ctx)
	defer leave()
	resp, err := s.open(ctx, get("/v1/events"))
	require.NoError(s, err)
	defer resp.Body.Close()
	require.Equal(s, http.StatusOK, resp.StatusCode)
	require.Equal(s, "text/event-stream", resp.Header.Get("Content-Type"))
	events := bufio.NewScanner(resp.Body)
	for _, name := range []string{"a", "b", "c"} {
		made := s.requireCreated(s.send(create(`{"name":"` + name + `"}`)))
		var lines []string
		for events.Scan() && events.Text() != "" {
			lines = append(lines, events.Text())
		}
		require.NoError(s, events.Err())
		require.Equal(s, []string{"event: created", `data: {"id":"` + made.ID + `","name":"` + name + `"}`}, lines)
	}
	leave()
	s.await()
	require.Equal(s, "GET /v1/events", s.access().Pattern)
	require.Equal(s, http.StatusOK, s.access().Status)
}

// checkBrokenEvents checks that the client notices an error after the first event.
func checkBrokenEvents(s *server) {
	resp, err := s.open(s.ctx, get("/v1/events"))
	require.NoError(s, err)
	defer resp.Body.Close()
	s.requireCreated(s.send(create(`{"name":"a"}`)))
	s.requireCreated(s.send(create(`{"name":"` + frameworks.NameBroken + `"}`)))
	events, err := io.ReadAll(resp.Body)
	require.Error(s, err)
	require.Contains(s, string(events), `"name":"a"`)
	require.NotContains(s, string(events), "api_error")
	s.await()
	require.Contains(s, s.logs.String(), "the disk is full")
}

func checkWebsocket(s *server) {
	conn, _, err := websocket.Dial(s.ctx, s.URL+"/v1/events", &websocket.DialOptions{
		HTTPClient: s.Client(), HTTPHeader: http.Header{"Authorization": {"Bearer sk_test_demo"}},
	})
	require.NoError(s, err)
	defer conn.CloseNow()
	for _, name := range []string{"a", "b"} {
		made := s.requireCreated(s.send(create(`{"name":"` + name + `"}`)))
		var got frameworks.Resource
		require.NoError(s, wsjson.Read(s.ctx, conn, &got))
		require.Equal(s, made, got)
	}
	require.NoError(s, conn.Close(websocket.StatusNormalClosure, ""))
	s.await()
	require.Equal(s, "GET /v1/events", s.access().Pattern)
	require.Zero(s, s.access().Status) // of a connection that was hijacked
}

// compressed compresses responses of any size.
func compressed(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(0))
	if err != nil {
		panic(err)
	}
	return wrap(next)
}

func checkCompression(s *server) {
	first := s.send(create(`{"name":"`+strings.Repeat("a", 1000)+`"}`).with("Accept-Encoding", "gzip").keyed())
	require.Equal(s, http.StatusCreated, first.status)
	require.Equal(s, "gzip", first.header.Get("Content-Encoding"))
	second := s.send(create(`{"name":"`+strings.Repeat("a", 1000)+`"}`).with("Accept-Encoding", "gzip").keyed())
	require.Equal(s, "true", second.header.Get("Idempotent-Replayed"))
	require.Equal(s, s.decompressed(first), s.decompressed(second))
	for _, id := range []string{"res_1", frameworks.IDBug} {
		resp := s.send(get("/v1/resources/"+id).with("Accept-Encoding", "gzip"))
		resp.body = s.decompressed(resp)
		s.requireError(resp, resp.status, s.access().Code)
	}
}

func (s *server) decompressed(resp response) string {
	if resp.header.Get("Content-Encoding") == "" {
		return resp.body
	}
	r, err := gzip.NewReader(strings.NewReader(resp.body))
	require.NoError(s, err)
	body, err := io.ReadAll(r)
	require.NoError(s, err)
	return string(body)
}

// crossOrigin answers preflights, which have no key of the API. So it goes around the Stack.
func crossOrigin(next http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowedMethods: []string{"GET", "POST", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key"},
		ExposedHeaders: []string{
			"Request-Id", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "RateLimit", "RateLimit-Policy", "Idempotent-Replayed", "Original-Request",
		},
	}).Handler(next)
}
