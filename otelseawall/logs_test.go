package otelseawall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// withTrace is a slog.Handler that adds the trace of a record's context, as bridges to
// OpenTelemetry do.
type withTrace struct{ slog.Handler }

func (h withTrace) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// otelhttp may be around the Stack, or between the Stack and the routes.
func TestTraceReachesEveryLogLine(t *testing.T) {
	t.Parallel()
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	for _, tt := range []struct {
		name   string
		inside bool
		path   string
		lines  []string // messages
	}{
		{"success", false, "/ok", []string{"request"}},
		{"success", true, "/ok", []string{"request"}},
		{"failure", false, "/fails", []string{"apierror: request failed", "request"}},
		{"failure", true, "/fails", []string{"apierror: request failed", "request"}},
		{"panic", false, "/panics", []string{"seawall: panic", "request"}},
		{"panic", true, "/panics", []string{"seawall: panic", "request"}},
		{"no route", false, "/none", []string{"request"}},
		{"no route", true, "/none", []string{"request"}},
		{"late error", false, "/late", []string{"apierror: request failed after its response was complete", "request"}},
		{"late error", true, "/late", []string{"apierror: request failed after its response was complete", "request"}},
		{"denied", false, "/denied", []string{"request"}}, // inside, otelhttp does not see the request
		{"unknown outcome", false, "/unknown", []string{"apierror: request failed", "idempotent: a call failed after BeginEffect", "request"}},
	} {
		var log bytes.Buffer
		r := newRecorder(0)
		logger := slog.New(withTrace{slog.NewJSONHandler(&log, nil)})
		mux := http.NewServeMux()
		mux.Handle("/ok", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		mux.Handle("/denied", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		mux.Handle("/panics", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }))
		mux.Handle("/fails", apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return errors.New("broken") }))
		mux.Handle("/late", apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
			return errors.New("broken")
		}))
		mux.Handle("/unknown", apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			return errors.Join(idempotent.BeginEffect(r.Context()), errors.New("broken"))
		}))
		stack := &seawall.Stack{
			Logger: logger,
			RateLimit: ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Logger: logger}, ratelimit.Rule{
				Limit: ratelimit.Per(1, time.Hour), Key: ratelimit.ByRemoteAddr,
				Cost: func(r *http.Request) int { return strings.Count(r.URL.Path, "denied") * 2 },
			}),
			Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Logger: logger}),
		}
		h := r.traced(stack.Handler(mux))
		if tt.inside {
			h = stack.Handler(r.traced(seawall.WrapMux(mux)))
		}
		req := httptest.NewRequest(http.MethodPost, tt.path, nil)
		req.Header.Set("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
		req.Header.Set("Idempotency-Key", "k")
		h.ServeHTTP(httptest.NewRecorder(), req)

		var messages []string
		for dec := json.NewDecoder(&log); dec.More(); {
			var line struct {
				Msg     string
				TraceID string `json:"trace_id"`
			}
			require.NoError(t, dec.Decode(&line))
			require.Equal(t, traceID, line.TraceID, "%s, inside %t: %s", tt.name, tt.inside, line.Msg)
			messages = append(messages, line.Msg)
		}
		require.Equal(t, tt.lines, messages, "%s, inside %t", tt.name, tt.inside)
	}
}

// otelhttp may be around one route, with middleware of this module inside.
func TestTraceReachesLogLinesOfMiddlewareOfARoute(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := newRecorder(0)
	logger := slog.New(withTrace{slog.NewJSONHandler(&log, nil)})
	inner := &seawall.Stack{Logger: logger}
	for path, h := range map[string]http.Handler{
		"/handler": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }),
		"/mux":     http.NewServeMux(),
	} {
		mux := http.NewServeMux()
		mux.Handle(path, r.traced(inner.Handler(h)))
		(&seawall.Stack{Logger: discard}).Handler(mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	require.Equal(t, 3, strings.Count(log.String(), "\n")) // a panic and two requests
	require.Equal(t, 3, strings.Count(log.String(), `"trace_id":"`), log.String())
}
