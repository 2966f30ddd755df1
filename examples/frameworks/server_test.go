package frameworks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks"
	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/logbuf"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode) // prints no routes
	leakcheck.Main(m)
}

// httpCase is something that must hold with every framework.
type httpCase struct {
	name    string
	http2   bool
	set     func(*seawall.Stack)            // may be nil
	outside func(http.Handler) http.Handler // middleware around the framework's handler; may be nil
	check   func(*server)
}

// try returns what is wrong with f, or "" if the case holds.
func (c httpCase) try(t *testing.T, f framework) string {
	s := newServer(t, c, f)
	done := make(chan struct{})
	go func() { // require ends it with Goexit
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				s.Errorf("panic: %v", v)
			}
		}()
		c.check(s)
	}()
	<-done
	return strings.Join(s.problems, "\n")
}

// server runs one framework. It implements require.TestingT, and keeps the problems for
// the comparison with the exceptions.
type server struct {
	*httptest.Server

	ctx      context.Context
	problems []string
	logs     logbuf.Buffer
	began    chan struct{} // receives when a request has come
	ended    chan struct{} // receives when the handler of a request has returned
	spans    *tracetest.InMemoryExporter
	metrics  *sdkmetric.ManualReader
}

func (s *server) Errorf(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *server) FailNow() { runtime.Goexit() }

func newServer(t *testing.T, c httpCase, f framework) *server {
	patience := 30 * time.Second
	if f.exceptions[c.name] != "" {
		patience = 3 * time.Second // some exceptions are something that never comes
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := &server{
		ctx: ctx, began: make(chan struct{}, 100), ended: make(chan struct{}, 100),
		spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader(),
	}
	stack := frameworks.NewStack(slog.New(slog.NewJSONHandler(&s.logs, nil)))
	stack.Timeout = time.Hour // a case sets a short one if it waits for it
	if c.set != nil {
		c.set(stack)
	}
	h := f.handler(&frameworks.Service{}, stack)
	if c.outside != nil {
		h = c.outside(h)
	}
	h = s.traced(h)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.began <- struct{}{}
		defer func() { s.ended <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if s.EnableHTTP2 = c.http2; c.http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	transport := s.Client().Transport.(*http.Transport)
	transport.DisableCompression = true // a case asks for gzip itself
	transport.ExpectContinueTimeout = time.Hour
	t.Cleanup(s.Close)
	return s
}

// traced puts otelhttp around h, with r.Pattern as the name of the span.
func (s *server) traced(h http.Handler) http.Handler {
	return otelhttp.NewHandler(h, "service",
		otelhttp.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans))),
		otelhttp.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.metrics))),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Pattern }),
	)
}

// routes returns the values of http.route in otelhttp's metrics.
func (s *server) routes() (routes []string) {
	var collected metricdata.ResourceMetrics
	require.NoError(s, s.metrics.Collect(s.ctx, &collected))
	for _, scope := range collected.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if durations, ok := metric.Data.(metricdata.Histogram[float64]); ok {
				for _, point := range durations.DataPoints {
					route, _ := point.Attributes.Value("http.route")
					routes = append(routes, route.AsString())
				}
			}
		}
	}
	return routes
}

// request describes a request. The empty fields have defaults.
type request struct {
	method, path string
	body         string // JSON
	header       map[string]string
	chunked      bool // the length of the body is not announced
}

func get(path string) request { return request{method: http.MethodGet, path: path} }

func create(body string) request {
	return request{method: http.MethodPost, path: "/v1/resources", body: body}
}

// with returns r with another header field. An empty value removes the field.
func (r request) with(field, value string) request {
	header := map[string]string{field: value}
	for f, v := range r.header {
		if f != field {
			header[f] = v
		}
	}
	r.header = header
	return r
}

// keyed returns r with an Idempotency-Key.
func (r request) keyed() request { return r.with("Idempotency-Key", "key_1") }

// response is a response that was read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// open sends a request, and returns the response with its open body.
func (s *server) open(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader = strings.NewReader(r.body)
	if r.chunked {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, s.URL+r.path, body)
	require.NoError(s, err)
	req.Header.Set("Authorization", "Bearer sk_test_demo")
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for field, value := range r.header {
		if req.Header.Set(field, value); value == "" {
			req.Header.Del(field)
		}
	}
	client := *s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client.Do(req)
}

// send sends a request, and waits until its handler has returned.
func (s *server) send(r request) response {
	resp, err := s.open(s.ctx, r)
	require.NoError(s, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s, err)
	s.await()
	return response{resp.StatusCode, resp.Header, string(body)}
}

// await waits until the handler of a request has returned.
func (s *server) await() {
	select {
	case <-s.ended:
	case <-s.ctx.Done():
		require.NoError(s, s.ctx.Err(), "no handler has returned")
	}
}

// requireAborted checks that a request gets no complete response.
func (s *server) requireAborted(r request) {
	resp, err := s.open(s.ctx, r)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	require.Error(s, err)
	require.NoError(s, s.ctx.Err())
	s.await()
}

// failure is an error object.
type failure struct {
	Type      apierror.Type
	Code      apierror.Code
	Message   string
	Param     string
	RequestID string `json:"request_id"`
}

// requireError checks that a response is an error object, and returns it.
func (s *server) requireError(resp response, status int, code apierror.Code) failure {
	var object struct{ Error failure }
	require.Equal(s, status, resp.status, resp.body)
	require.NoError(s, json.Unmarshal([]byte(resp.body), &object), resp.body)
	require.Equal(s, code, object.Error.Code)
	require.Equal(s, "application/json", resp.header.Get("Content-Type"))
	require.NotEmpty(s, object.Error.Message)
	require.NotEmpty(s, object.Error.RequestID)
	require.Len(s, resp.header.Values("Request-Id"), 1)
	if resp.header.Get("Idempotent-Replayed") == "" {
		require.Equal(s, resp.header.Get("Request-Id"), object.Error.RequestID)
	}
	return object.Error
}

// requireCreated checks that a response is a new resource, and returns it.
func (s *server) requireCreated(resp response) (made frameworks.Resource) {
	require.Equal(s, http.StatusCreated, resp.status, resp.body)
	require.NoError(s, json.Unmarshal([]byte(resp.body), &made))
	require.NotEmpty(s, made.ID)
	return made
}

// logLine is a line of the log.
type logLine struct {
	Msg, Method, Pattern, Panic string
	Status                      int
	RequestID                   string `json:"request_id"`
	Code                        apierror.Code
	Replayed                    bool
}

// lines returns the lines of the log with a message.
func (s *server) lines(msg string) (lines []logLine) {
	for dec := json.NewDecoder(bytes.NewReader([]byte(s.logs.String()))); dec.More(); {
		var line logLine
		require.NoError(s, dec.Decode(&line))
		if line.Msg == msg {
			lines = append(lines, line)
		}
	}
	return lines
}

// access returns the last line of the access log.
func (s *server) access() logLine {
	lines := s.lines("request")
	require.NotEmpty(s, lines)
	return lines[len(lines)-1]
}
