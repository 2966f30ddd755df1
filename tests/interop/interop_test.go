package interop_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	"github.com/rs/cors"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// composition is the service with something of another project around the chain or inside of it.
type composition struct {
	name  string
	build func(*testing.T, *service) http.Handler

	// compresses says that large bodies go out as gzip, and that the access log counts bytes before
	// the compressor ("outside" of the chain) or behind it ("inside").
	compresses string

	// field is one that each answer must have.
	field string

	// exceptions are the aspects of requests that do not hold, "request/aspect", and why not. A
	// star is every request. An exception that holds after all fails the test.
	exceptions map[string]string
}

var compositions = []composition{
	{name: "nothing", build: outside(func(next http.Handler) http.Handler { return next })},

	{name: "gorilla CompressHandler outside", build: outside(handlers.CompressHandler), compresses: "outside"},
	{
		name: "gorilla CompressHandler inside", build: inside(handlers.CompressHandler), compresses: "inside",
		exceptions: map[string]string{
			"panic/status":   closesEarly,
			"panic/header":   closesEarly,
			"panic/log":      closesEarly,
			"panic/log code": closesEarly,
		},
	},
	{name: "gzhttp outside", build: outside(gzhttpHandler), compresses: "outside"},
	{name: "gzhttp inside", build: inside(gzhttpHandler), compresses: "inside"},
	{
		name: "chi Compress outside", build: outside(chimiddleware.Compress(5)), compresses: "outside",
		exceptions: map[string]string{
			"early hints/encoding": chiInformed,
		},
	},
	{
		name: "chi Compress inside", build: inside(chimiddleware.Compress(5)), compresses: "inside",
		exceptions: map[string]string{
			"early hints/encoding": chiInformed,
		},
	},

	{name: "otelhttp outside", build: traced(outside)},
	{name: "otelhttp inside", build: traced(inside)},
	{name: "cors outside", build: outside(allowOrigin), field: "Access-Control-Allow-Origin"},
	{name: "cors inside", build: inside(allowOrigin)},

	{
		name: "TimeoutHandler outside", build: outside(timeoutHandler),
		exceptions: map[string]string{
			"upload/files": servesCopy,
		},
	},
	{
		name: "TimeoutHandler inside", build: inside(timeoutHandler),
		exceptions: map[string]string{
			"upload/files": servesCopy,
			"torn/status":  "nothing of its buffer has gone out, so the answer is a whole 500",
			"torn/body":    "as the status",
			"torn/log":     "as the status",
		},
	},

	{name: "ReverseProxy outside", build: proxyOutside},
	{
		name: "ReverseProxy inside", build: proxyInside,
		exceptions: map[string]string{
			"*/pattern":     behindProxy,
			"*/log pattern": behindProxy,
			"*/log code":    behindProxy,
		},
	},

	{
		name: "gorilla RecoveryHandler outside", build: outside(recoveryHandler),
		exceptions: map[string]string{
			"torn/body": "it recovers http.ErrAbortHandler too, and net/http then ends the response as if it were whole",
		},
	},
	{
		name: "gorilla RecoveryHandler inside", build: inside(recoveryHandler),
		exceptions: map[string]string{
			"panic/body":     recovers,
			"panic/header":   recovers,
			"panic/log code": recovers,
			"torn/body":      recovers,
			"torn/log":       recovers,
		},
	},
	{name: "gorilla ProxyHeaders outside", build: outside(handlers.ProxyHeaders)},

	{
		name: "chi inside", build: func(_ *testing.T, s *service) http.Handler { return s.chain(chiRouter(s)) },
		exceptions: map[string]string{
			"upload/files":        servesCopy,
			"wrong method/header": noMethods,
		},
	},
	{
		name: "chi outside", build: func(_ *testing.T, s *service) http.Handler { return chiRouter(s, s.chain) },
		exceptions: map[string]string{
			"upload/files":        servesCopy,
			"wrong method/header": noMethods,
		},
	},
	{name: "echo inside", build: func(_ *testing.T, s *service) http.Handler { return s.chain(echoRouter(s)) }},
	{name: "echo outside", build: func(_ *testing.T, s *service) http.Handler {
		return echoRouter(s, echo.WrapMiddleware(s.chain))
	}},
	{
		name: "gorilla mux inside", build: func(_ *testing.T, s *service) http.Handler { return s.chain(gorillaRouter(s)) },
		exceptions: map[string]string{
			"upload/files":        servesCopy,
			"wrong method/header": noMethods,
		},
	},
}

// The reasons of exceptions that several compositions have.
const (
	closesEarly = "a panic makes it send an empty gzip stream with status 200 before Recover sees the panic; " +
		"Recover can only abort, and leaves an answer to HEAD as it is"
	chiInformed = "it takes a 1xx for the final status, and does not compress what follows"
	servesCopy  = "it serves a copy of the request, whose form net/http never sees; without the chain the files are left too"
	behindProxy = "only the server behind the proxy knows the route and the error"
	recovers    = "it answers panics itself, before Recover sees them"
	noMethods   = "it does not tell a handler of one's own which methods are allowed"
)

// placement is outside or inside.
type placement func(func(http.Handler) http.Handler) func(*testing.T, *service) http.Handler

// outside is m around the chain.
func outside(m func(http.Handler) http.Handler) func(*testing.T, *service) http.Handler {
	return func(_ *testing.T, s *service) http.Handler { return m(s.chain(s.mux())) }
}

// inside is m between the chain and its router.
func inside(m func(http.Handler) http.Handler) func(*testing.T, *service) http.Handler {
	return func(_ *testing.T, s *service) http.Handler { return s.chain(m(seawall.WrapMux(s.mux()))) }
}

// nobody is a logger of package handlers.
var nobody = log.New(io.Discard, "", 0)

func gzhttpHandler(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }

func allowOrigin(next http.Handler) http.Handler { return cors.AllowAll().Handler(next) }

func recoveryHandler(next http.Handler) http.Handler {
	return handlers.RecoveryHandler(handlers.RecoveryLogger(nobody))(next)
}

func timeoutHandler(next http.Handler) http.Handler {
	return http.TimeoutHandler(next, time.Minute, "too late")
}

// traced is otelhttp, which must learn the patterns for the names of its spans and for http.route
// of its metrics.
func traced(place placement) func(*testing.T, *service) http.Handler {
	return func(t *testing.T, s *service) http.Handler {
		exporter, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
		t.Cleanup(func() {
			spans, routes := spanNames(exporter), metricRoutes(t, reader)
			for _, rt := range s.routes {
				if rt.path != "/panic" && rt.path != "/torn" { // a panic that goes through otelhttp leaves no name
					require.Contains(t, spans, rt.pattern())
					require.Contains(t, routes, rt.path)
				}
			}
		})
		return place(otelhttp.NewMiddleware("service",
			otelhttp.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))),
			otelhttp.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Pattern }),
		))(t, s)
	}
}

func spanNames(exporter *tracetest.InMemoryExporter) []string {
	var names []string
	for _, span := range exporter.GetSpans() {
		names = append(names, span.Name)
	}
	return names
}

func metricRoutes(t *testing.T, reader sdkmetric.Reader) []string {
	var collected metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &collected))
	var routes []string
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

// proxyOutside is a proxy in front of a server with the chain.
func proxyOutside(t *testing.T, s *service) http.Handler {
	return proxyTo(t, s.chain(s.mux()))
}

// proxyInside is a chain around a proxy, to a server whose chain trusts the ids of this one.
func proxyInside(t *testing.T, s *service) http.Handler {
	trusted := &seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return true }}}
	proxy := proxyTo(t, trusted.Handler(s.mux()))
	proxy.Transport = seawall.ForwardRequestID(proxy.Transport)
	proxy.ModifyResponse = func(resp *http.Response) error {
		resp.Header.Del("Request-Id")
		resp.Header.Del("X-Request-Id")
		return nil
	}
	proxy.ErrorHandler = apierror.Write
	return s.chain(proxy)
}

func proxyTo(t *testing.T, h http.Handler) *httputil.ReverseProxy {
	server := startServer(t, h, false)
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: server.Client().Transport,
		ErrorLog:  nobody,
	}
}

// methods are those that a router has to be told for a route. ServeMux takes HEAD where it takes
// GET.
func (rt route) methods() []string {
	if rt.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{rt.method}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	apierror.Write(w, r, apierror.CodeResourceMissing)
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	apierror.Write(w, r, apierror.MethodNotAllowed(w.Header().Values("Allow")...))
}

func chiRouter(s *service, outer ...func(http.Handler) http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Use(outer...)
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if pattern := chi.RouteContext(r.Context()).RoutePattern(); pattern != "" {
					seawall.SetPattern(r, r.Method+" "+pattern)
				}
			}()
			next.ServeHTTP(w, r)
		})
	})
	router.NotFound(notFound)
	router.MethodNotAllowed(methodNotAllowed)
	for _, rt := range s.routes {
		for _, method := range rt.methods() {
			router.Method(method, rt.path, rt.handler)
		}
	}
	return router
}

func echoRouter(s *service, outer ...echo.MiddlewareFunc) http.Handler {
	router := echo.New()
	router.Use(outer...)
	router.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			switch {
			case err == nil:
			case c.Response().Header().Get("Allow") != "":
				methodNotAllowed(c.Response(), c.Request())
			default:
				notFound(c.Response(), c.Request())
			}
			return nil
		}
	})
	for _, rt := range s.routes {
		router.Match(rt.methods(), strings.ReplaceAll(rt.path, "{id}", ":id"), func(c echo.Context) error {
			seawall.SetPattern(c.Request(), rt.pattern())
			rt.handler.ServeHTTP(c.Response(), c.Request())
			return nil
		})
	}
	return router
}

func gorillaRouter(s *service) http.Handler {
	router := mux.NewRouter()
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if path, err := mux.CurrentRoute(r).GetPathTemplate(); err == nil {
				seawall.SetPattern(r, r.Method+" "+path)
			}
			next.ServeHTTP(w, r)
		})
	})
	router.NotFoundHandler = http.HandlerFunc(notFound)
	router.MethodNotAllowedHandler = http.HandlerFunc(methodNotAllowed)
	for _, rt := range s.routes {
		router.Handle(rt.path, rt.handler).Methods(rt.methods()...)
	}
	return router
}

// request is one that each composition is asked, and its answer.
type request struct {
	name, method, path string
	twice              bool // the second answer counts
	early              bool // it is answered before a router sees it

	status int
	code   apierror.Code // of an error object; "" for itemBody
	torn   bool          // the client sees that a part is missing
	hinted bool          // a 103 comes first
	route  string
	fields []string // that the header must have
}

var requests = []request{
	{name: "success", method: http.MethodGet, path: "/items/7", status: 200, route: "/items/{id}"},
	{name: "unknown path", method: http.MethodGet, path: "/nowhere", status: 404, code: apierror.CodeResourceMissing},
	{
		name: "wrong method", method: http.MethodDelete, path: "/items/7", status: 405, code: apierror.CodeMethodNotAllowed,
		fields: []string{"Allow"},
	},
	{
		name: "refused by an error", method: http.MethodGet, path: "/refused", status: 400, code: apierror.CodeParameterInvalid,
		route: "/refused",
	},
	{name: "refused by Write", method: http.MethodGet, path: "/plain", status: 400, code: apierror.CodeParameterInvalid, route: "/plain"},
	{name: "panic", method: http.MethodGet, path: "/panic", status: 500, code: apierror.CodeAPIError, route: "/panic"},
	{name: "torn", method: http.MethodGet, path: "/torn", status: 200, torn: true, route: "/torn"},
	{
		name: "over the limit", method: http.MethodGet, path: "/limited", twice: true, early: true, status: 429,
		code: apierror.CodeRateLimitExceeded, route: "/limited", fields: []string{"Retry-After"},
	},
	{
		name: "replay", method: http.MethodPost, path: "/orders", twice: true, early: true, status: 201, route: "/orders",
		fields: []string{"Idempotent-Replayed"},
	},
	{name: "upload", method: http.MethodPost, path: "/upload", status: 200, route: "/upload"},
	{name: "early hints", method: http.MethodGet, path: "/hints", hinted: true, status: 200, route: "/hints"},
}

// variants are the forms of each request.
var variants = []struct {
	name       string
	head, gzip bool
}{
	{name: "plain"},
	{name: "gzip", gzip: true},
	{name: "HEAD", head: true},
	{name: "HEAD gzip", head: true, gzip: true},
}

func TestChainLivesWithOthers(t *testing.T) {
	t.Parallel()
	for _, c := range compositions {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(c.name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				c.run(t, protocol == "HTTP/2.0")
			})
		}
	}
}

func (c composition) run(t *testing.T, http2 bool) {
	s, found := newService(), problems{}
	t.Cleanup(func() { // when all servers are closed, and net/http has tidied up
		for _, name := range s.left() {
			found.add("upload", "files", "%s is left", name)
		}
		found.compare(t, c.exceptions)
	})
	server := startServer(t, c.build(t, s), http2)
	for _, req := range requests {
		for i, v := range variants {
			if v.head && (req.method != http.MethodGet || req.torn) {
				continue
			}
			key := fmt.Sprint("key_", i)
			if req.twice {
				ask(t, s, server, req, v.head, v.gzip, key)
			}
			a := ask(t, s, server, req, v.head, v.gzip, key)
			c.check(req, a, func(aspect, format string, args ...any) {
				found.add(req.name, aspect, v.name+": "+format, args...)
			})
		}
	}
}

func startServer(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = nobody
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	transport := server.Client().Transport.(*http.Transport)
	transport.DisableCompression = true  // the test asks for gzip itself
	transport.DisableKeepAlives = !http2 // a client repeats what was aborted on a connection that it had used before
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return server
}

// answer is what can be seen of a request and its answer.
type answer struct {
	head, gzip bool
	hints      int // 103s
	status     int
	header     http.Header
	wire, body []byte // body is wire without its Content-Encoding
	err        error  // of the client
	pattern    string // of the request that the chain was given, afterwards
	log        []logLine
}

func ask(t *testing.T, s *service, server *httptest.Server, req request, head, gzipped bool, key string) answer {
	t.Helper()
	method, body, contentType := req.method, io.Reader(nil), ""
	switch {
	case head:
		method = http.MethodHead
	case req.path == "/upload":
		body, contentType = uploadForm(t)
	case method == http.MethodPost:
		body, contentType = strings.NewReader("{}"), "application/json"
	}
	a := answer{head: head, gzip: gzipped}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			if status == http.StatusEarlyHints && h.Get("Link") != "" {
				a.hints++
			}
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, method, server.URL+req.path, body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", contentType)
	if req.path == "/orders" {
		r.Header.Set("Idempotency-Key", key)
	}
	r.Header.Set("Origin", "https://example.com")
	if gzipped {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := server.Client().Do(r)
	if a.err = err; err == nil {
		defer resp.Body.Close()
		a.status, a.header = resp.StatusCode, resp.Header
		if a.wire, a.err = io.ReadAll(resp.Body); a.err == nil {
			a.body, a.err = decoded(a.header.Get("Content-Encoding"), a.wire)
		}
	}
	select {
	case a.pattern = <-s.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the chain does not return from %s %s", method, req.path)
	}
	a.log = s.accessLog(t)
	return a
}

func uploadForm(t *testing.T) (body io.Reader, contentType string) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "a.txt")
	require.NoError(t, err)
	io.WriteString(part, strings.Repeat("x", 10_000))
	require.NoError(t, form.Close())
	return &b, form.FormDataContentType()
}

func decoded(encoding string, wire []byte) ([]byte, error) {
	if encoding != "gzip" || len(wire) == 0 {
		return wire, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(wire))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// atMostOnce are the fields that a client may take for two answers if they come twice.
var atMostOnce = []string{
	"Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "Idempotent-Replayed", "Ratelimit", "Ratelimit-Policy",
	"Retry-After", "X-Content-Type-Options", "X-Should-Retry",
}

// wrongFunc reports that an aspect of an answer is not as it must be.
type wrongFunc func(aspect, format string, args ...any)

// check calls wrong for each aspect of an answer that is not as it must be.
func (c composition) check(req request, a answer, wrong wrongFunc) {
	if a.header == nil && !req.torn { // aborted before it began
		wrong("status", "%v", a.err)
		return
	}
	if a.header != nil && a.status != req.status {
		wrong("status", "%d", a.status)
	}
	if (a.hints == 1) != req.hinted {
		wrong("hints", "%d", a.hints)
	}
	c.checkHeader(req, a, wrong)
	checkBody(req, a, wrong)
	if !rightRoute(req, a.pattern) {
		wrong("pattern", "%q", a.pattern)
	}
	c.checkLog(req, a, wrong)
}

func (c composition) checkHeader(req request, a answer, wrong wrongFunc) {
	h := a.header
	ids := h.Values("Request-Id")
	if h != nil && len(ids) != 1 || !slices.Equal(ids, h.Values("X-Request-Id")) {
		wrong("header", "ids %q, %q", ids, h.Values("X-Request-Id"))
	}
	for _, field := range atMostOnce {
		if values := h.Values(field); len(values) > 1 {
			wrong("header", "%s: %q", field, values)
		}
	}
	for _, field := range append([]string{"Ratelimit", "Ratelimit-Policy", c.field}, req.fields...) {
		if field != "" && h != nil && h.Get(field) == "" {
			wrong("header", "no %s", field)
		}
	}
	switch encoding := h.Get("Content-Encoding"); {
	case encoding != "" && !a.gzip:
		wrong("encoding", "%s, which was not asked for", encoding)
	case encoding != "gzip" && a.gzip && !a.head && c.compresses != "" && req.code == "":
		wrong("encoding", "%q", encoding)
	}
	if req.code != "" && (h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store") {
		wrong("header", "Content-Type %q, Cache-Control %q", h.Get("Content-Type"), h.Get("Cache-Control"))
	}
}

func checkBody(req request, a answer, wrong wrongFunc) {
	var object struct {
		Error struct {
			Code      apierror.Code
			RequestID string `json:"request_id"`
		}
	}
	switch {
	case req.torn:
		if a.err == nil {
			wrong("body", "the client takes %d bytes for the whole", len(a.wire))
		}
	case a.err != nil:
		wrong("body", "%v", a.err)
	case a.head:
		if len(a.wire) > 0 {
			wrong("body", "%q", a.wire)
		}
	case req.code == "":
		if string(a.body) != itemBody {
			wrong("body", "%.60q", a.body)
		}
	case json.Unmarshal(a.body, &object) != nil || object.Error.Code != req.code:
		wrong("body", "%.60q", a.body)
	case object.Error.RequestID != a.header.Get("Request-Id"):
		wrong("body", "id %s under %s", object.Error.RequestID, a.header.Get("Request-Id"))
	}
}

func (c composition) checkLog(req request, a answer, wrong wrongFunc) {
	if len(a.log) != 1 {
		wrong("log", "%d lines", len(a.log))
		return
	}
	line := a.log[0]
	if line.Status != req.status || line.Aborted != req.torn || a.header != nil && line.RequestID != a.header.Get("Request-Id") {
		wrong("log", "%+v", line)
	}
	if line.Code != req.code && !req.torn {
		wrong("log code", "%q", line.Code)
	}
	if !rightRoute(req, line.Pattern) {
		wrong("log pattern", "%q", line.Pattern)
	}
	bytes := len(a.wire)
	if c.compresses == "outside" {
		bytes = len(a.body)
	}
	if line.Bytes != bytes && !req.torn {
		wrong("log bytes", "%d instead of %d", line.Bytes, bytes)
	}
}

// rightRoute compares routes without the method: some routers have a separate route for HEAD.
func rightRoute(req request, pattern string) bool {
	if pattern == "" {
		return req.early || req.route == ""
	}
	_, route, _ := strings.Cut(pattern, " ")
	return route == req.route
}

// problems are what was found wrong, by "request/aspect".
type problems map[string][]string

func (p problems) add(request, aspect, format string, args ...any) {
	key := request + "/" + aspect
	p[key] = append(p[key], fmt.Sprintf(format, args...))
}

// compare fails the test for each problem that is no exception, and for each exception that is no
// problem.
func (p problems) compare(t *testing.T, exceptions map[string]string) {
	t.Helper()
	idle := maps.Clone(exceptions)
	for _, key := range slices.Sorted(maps.Keys(p)) {
		_, aspect, _ := strings.Cut(key, "/")
		delete(idle, key)
		delete(idle, "*/"+aspect)
		if exceptions[key] == "" && exceptions["*/"+aspect] == "" {
			t.Errorf("%s: %s", key, strings.Join(p[key], "; "))
		}
	}
	for key, why := range idle {
		t.Errorf("%s holds, in spite of: %s", key, why)
	}
}

// echo.WrapMiddleware wraps once per request. The Stack's bound must be one for all of them.
func TestMaxInFlightBoundsInsideEchoWrapMiddleware(t *testing.T) {
	t.Parallel()
	const bound, all = 2, 8
	stack := &seawall.Stack{Logger: discard, MaxInFlight: bound}
	router := echo.New()
	router.Use(echo.WrapMiddleware(stack.Handler))
	var running atomic.Int64
	entered, leave := make(chan struct{}, all), make(chan struct{})
	router.GET("/", func(c echo.Context) error {
		defer running.Add(-1)
		if running.Add(1) > bound {
			t.Error("more than the bound run")
			return c.NoContent(http.StatusNoContent)
		}
		entered <- struct{}{}
		<-leave
		return c.NoContent(http.StatusNoContent)
	})
	server := startServer(t, router, false)
	get := func() int {
		resp, err := server.Client().Get(server.URL)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	var wg sync.WaitGroup
	for range bound {
		wg.Go(func() {
			if status := get(); status != http.StatusNoContent {
				t.Error(status)
			}
		})
	}
	for range bound {
		<-entered
	}
	for range all - bound {
		if status := get(); status != http.StatusServiceUnavailable {
			t.Error(status)
		}
	}
	close(leave)
	wg.Wait()
}
